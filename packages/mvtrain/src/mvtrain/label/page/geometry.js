// Geometry of the labels that the page shows, asked from the server: one request at a time, always for the newest labels.

import { post } from "./api.js";

export class GeometryRequests {
  constructor(app) {
    this.app = app;
    this.wanted = new Set();
    this.computing = false;
  }

  async refresh(keypoints) {
    const { app } = this;
    if (!app.frame.geometry) return;
    for (const keypoint of keypoints) this.wanted.add(keypoint);
    if (this.computing) return;
    this.computing = true;
    try {
      while (this.wanted.size) {
        const { frame } = app;
        const asked = [...this.wanted];
        this.wanted.clear();
        const labels = asked.map((keypoint) => frame.views.map((_, view) => frame.label(view, keypoint)));
        const answer = await post(`/api/frames/${frame.frame}/geometry`, { keypoints: asked, labels });
        if (app.frame !== frame) continue;
        frame.merge(asked, answer);
        app.render();
      }
    } catch (error) {
      app.banner.fail(error);
    } finally {
      this.computing = false;
    }
  }
}
