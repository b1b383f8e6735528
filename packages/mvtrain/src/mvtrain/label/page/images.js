// Images of frames, decoded ahead: the current frame, the next and the previous one.

import { image } from "./api.js";

const KEPT = 4; // frames
const PATIENCE = 300; // ms after which an image is halved even if the page is busy

// An image, and half of its size: drawn small, the half is as good as the whole and takes a quarter of the time. Halving
// takes as long as decoding, but in the page's own thread, so that the image is shown before.
class ViewImage {
  constructor(full) {
    this.full = full;
    this.half = null;
    this.onHalved = null; // called once, when there is a half
    requestIdleCallback(() => this.halve(), { timeout: PATIENCE });
  }

  async halve() {
    if (!this.full.width) return; // closed
    const size = { resizeWidth: Math.ceil(this.full.width / 2), resizeHeight: Math.ceil(this.full.height / 2) };
    const half = await createImageBitmap(this.full, { ...size, resizeQuality: "medium" });
    if (!this.full.width) return half.close();
    this.half = half;
    this.onHalved?.();
  }

  close() {
    this.full.close();
    this.half?.close();
  }
}

async function viewImage(path) {
  return new ViewImage(await createImageBitmap(await image(path), { colorSpaceConversion: "none" }));
}

export class Images {
  constructor() {
    this.frames = new Map();
  }

  // One promise per view; null for a view without an image, an Error where it cannot be read.
  load(frame, numViews) {
    const known = this.frames.get(frame);
    if (known) this.frames.delete(frame);
    const images = known ?? Array.from({ length: numViews }, (_, view) => this.one(frame, view));
    this.frames.set(frame, images);
    for (const [old, outdated] of this.frames) {
      if (this.frames.size <= KEPT) break;
      this.frames.delete(old);
      for (const image of outdated) image.then((loaded) => loaded?.close?.());
    }
    return images;
  }

  one(frame, view) {
    return viewImage(`/api/frames/${frame}/views/${view}/image`).catch((error) => (error.status === 404 ? null : error));
  }

  clear() {
    this.frames.clear();
  }
}

export const neighbor = (frame, view, offset) =>
  viewImage(`/api/frames/${frame}/views/${view}/video/${offset}`).catch((error) => error);
