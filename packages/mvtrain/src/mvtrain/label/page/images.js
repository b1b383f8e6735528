// Images of frames, decoded ahead: the current frame, the next and the previous one.

import { picture } from "./api.js";

const KEPT = 4; // frames

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
    return picture(`/api/frames/${frame}/views/${view}/image`).catch((error) => (error.status === 404 ? null : error));
  }

  clear() {
    this.frames.clear();
  }
}

export const neighbor = (frame, view, offset) =>
  picture(`/api/frames/${frame}/views/${view}/video/${offset}`).catch((error) => error);
