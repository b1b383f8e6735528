// Every key, what it does, and the sheet that lists them.

export const KEYS = [
  ["Keypoints", [
    ["1 … 9, 0", "keypoint 1 … 10", Object.fromEntries([..."1234567890"].map((key, number) => [key, (app) => app.select(number)]))],
    ["Tab, Shift+Tab", "next, previous keypoint", { "Tab": (app) => app.step(1), "Shift+Tab": (app) => app.step(-1) }],
    ["G", "next keypoint that needs a hand", { "g": (app) => app.nextOpen() }],
    ["V, Shift+V", "next, previous view", { "v": (app) => app.stepView(1), "Shift+v": (app) => app.stepView(-1) }],
  ]],
  ["Place", [
    ["Click", "place the keypoint; drag a mark to move it; Shift+click places over another mark", {}],
    ["Arrows", "move the cursor by 1 px, with Shift 10, with Alt 0.1", arrows()],
    ["Enter", "place the keypoint at the cursor", { "Enter": (app) => app.looking.placeAtCursor() }],
    ["A", "accept the projection (else the prediction) in the active view", { "a": (app) => app.editor.accept() }],
    ["Shift+A", "accept it in all views without a click, and go on", { "Shift+a": (app) => app.editor.acceptViews() }],
    ["Shift+Enter", "accept the projections of all keypoints in all views", { "Shift+Enter": (app) => app.editor.acceptAll() }],
    ["P, Shift+P", "accept the prediction; all predictions of the frame", { "p": (app) => app.editor.acceptPrediction(), "Shift+p": (app) => app.editor.acceptPredictions() }],
    ["O", "occluded or visible", { "o": (app) => app.editor.toggleOccluded() }],
    ["X", "absent: not in this image", { "x": (app) => app.editor.toggleAbsent() }],
    ["Delete", "remove the label", { "Delete": (app) => app.editor.remove(), "Backspace": (app) => app.editor.remove() }],
    ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo in this frame", { "Ctrl+z": (app) => app.editor.undo(), "Ctrl+Shift+z": (app) => app.editor.redo(), "Ctrl+y": (app) => app.editor.redo() }],
  ]],
  ["Frames", [
    ["N, B", "next, previous frame (also Page Down, Page Up)", { "n": (app) => app.stepFrame(1), "b": (app) => app.stepFrame(-1), "PageDown": (app) => app.stepFrame(1), "PageUp": (app) => app.stepFrame(-1) }],
    [", .", "previous, next frame of the video, to look at", { ",": (app) => app.video.step(-1), ".": (app) => app.video.step(1) }],
    ["Esc", "back to the labeled frame; hide the cursor", { "Escape": (app) => app.escape() }],
    ["Ctrl+S", "save now; leaving a frame saves by itself", { "Ctrl+s": (app) => app.saving.save() }],
  ]],
  ["Look", [
    ["Wheel, drag", "zoom to the pointer, pan", {}],
    ["+ −", "zoom the active view", { "+": (app) => app.looking.zoom(1.4), "=": (app) => app.looking.zoom(1.4), "-": (app) => app.looking.zoom(1 / 1.4) }],
    ["Z", "zoom all views to the keypoint", { "z": (app) => app.looking.zoomToKeypoint() }],
    ["F", "fit all images", { "f": (app) => app.looking.fit() }],
    ["M", "active view alone, all views", { "m": (app) => app.looking.toggleMaximized() }],
    ["L, K, E", "names, skeleton, geometry on or off", { "l": (app) => app.toggle("names"), "k": (app) => app.toggle("skeleton"), "e": (app) => app.toggle("geometry") }],
    ["T", "go to the next keypoint after a click, or stay", { "t": (app) => app.toggle("advance") }],
    ["C", "original brightness and contrast", { "c": (app) => app.looking.resetLight() }],
    ["?", "this sheet", { "?": (app) => app.toggleSheet() }],
  ]],
];

function arrows() {
  const steps = { "": 1, "Shift+": 10, "Alt+": 0.1 };
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const bindings = {};
  for (const [modifier, step] of Object.entries(steps)) {
    for (const [key, [dx, dy]] of Object.entries(directions)) {
      bindings[modifier + key] = (app) => app.looking.moveCursor(dx * step, dy * step);
    }
  }
  return bindings;
}

const ACTIONS = Object.assign({}, ...KEYS.flatMap(([, rows]) => rows.map(([, , bindings]) => bindings)));

function name(event) {
  const letter = event.key.length === 1;
  const key = letter ? event.key.toLowerCase() : event.key;
  // Of other signs, such as "?", Shift is a part.
  const shift = event.shiftKey && (!letter || key !== event.key || /[a-z]/.test(key));
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

export function listen(app) {
  addEventListener("keydown", (event) => {
    if (event.target.closest?.("select, input[type=number], dialog")) return;
    const action = ACTIONS[name(event)];
    if (!action || !app.frame) return;
    event.preventDefault();
    action(app);
  });
}

export function fillSheet(element) {
  for (const [title, rows] of KEYS) {
    const table = document.createElement("table");
    table.createCaption().textContent = title;
    for (const [keys, text] of rows) {
      const row = table.insertRow();
      row.insertCell().textContent = keys;
      row.insertCell().textContent = text;
    }
    element.append(table);
  }
}
