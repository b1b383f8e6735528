// The line at the bottom: what to do next for the active keypoint, or which view disagrees.

// Text and whether it is a warning.
export function describe({ frame, project, activeKeypoint: keypoint, video }) {
  if (video.offset) return ["frame of the video, to look at only; Esc goes back to the labeled one", false];
  const name = project.keypoints[keypoint];
  const disagrees = Boolean(frame.geometry?.disagrees[keypoint]);
  const text = disagrees ? disagreement(frame, project, keypoint) : advice(frame, project, keypoint);
  return [`${name}: ${text}`, disagrees];
}

const count = (frame, keypoint, state) => frame.states(keypoint).filter((other) => other === state).length;
const largestError = (frame, keypoint) => Math.max(...frame.geometry.errors.map((row) => row[keypoint] ?? 0)).toFixed(1);

function advice(frame, project, keypoint) {
  const clicks = count(frame, keypoint, "click");
  const proposals = count(frame, keypoint, "proposal");
  if (!frame.geometry) return project.views.length > 1 ? "no calibration, so each view is labeled alone" : "click to place it";
  if (clicks === 0) return "click it in one view; its curve appears in the others";
  if (proposals) return `projected into ${proposals} more ${proposals > 1 ? "views" : "view"}; Shift+A accepts`;
  if (clicks === 1) return "click it in a second view, on the curve";
  return `${clicks} clicks agree within ${largestError(frame, keypoint)} px`;
}

function disagreement(frame, project, keypoint) {
  const names = frame.geometry.suspects[keypoint].map((view) => project.views[view]);
  const largest = largestError(frame, keypoint);
  if (names.length === 1) return `${names[0]} disagrees by ${largest} px; without it the others agree`;
  const clicks = count(frame, keypoint, "click");
  const next = clicks < project.views.length ? "; a click in another view decides" : "";
  if (clicks === 2) return `${names.join(" and ")} contradict each other by ${largest} px${next}`;
  return `${names.join(" or ")} disagrees by ${largest} px${next}`;
}
