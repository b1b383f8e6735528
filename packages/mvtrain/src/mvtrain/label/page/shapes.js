// Marks of keypoints. Colors are those of Okabe and Ito, which people with any color vision can tell apart, lightened
// for a dark page; after eight keypoints the shape changes, so that color and shape together are unique for 32.

const COLORS = ["#e69f00", "#56b4e9", "#1fbf92", "#f0e442", "#6ea8ff", "#ff7f3f", "#e29ac4", "#f2f2f2"];
const SHAPES = ["circle", "square", "diamond", "triangle"];

export const WARNING = "#ff6a3d";

export const colorOf = (keypoint) => COLORS[keypoint % COLORS.length];
export const shapeOf = (keypoint) => SHAPES[Math.floor(keypoint / COLORS.length) % SHAPES.length];

export function path(context, shape, x, y, radius) {
  context.beginPath();
  if (shape === "square") {
    context.rect(x - radius * 0.87, y - radius * 0.87, radius * 1.74, radius * 1.74);
  } else if (shape === "diamond") {
    polygon(context, [[x, y - radius * 1.2], [x + radius * 1.2, y], [x, y + radius * 1.2], [x - radius * 1.2, y]]);
  } else if (shape === "triangle") {
    polygon(context, [[x, y - radius * 1.2], [x + radius * 1.1, y + radius * 0.8], [x - radius * 1.1, y + radius * 0.8]]);
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
}

function polygon(context, corners) {
  corners.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
}

// A stroke that is readable on any image: dark below, the color above.
export function cased(context, color, width, draw) {
  for (const [style, extra] of [["rgba(0, 0, 0, 0.65)", 2], [color, 0]]) {
    context.strokeStyle = style;
    context.lineWidth = width + extra;
    draw();
    context.stroke();
  }
}

export function casedText(context, text, x, y, color) {
  context.font = "500 12px system-ui, sans-serif";
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.lineWidth = 3;
  context.strokeText(text, x, y);
  context.fillStyle = color;
  context.fillText(text, x, y);
}

// The mark of a keypoint as a small SVG for the list.
export function swatch(keypoint) {
  const shape = {
    circle: '<circle cx="6" cy="6" r="4"/>',
    square: '<rect x="2.4" y="2.4" width="7.2" height="7.2"/>',
    diamond: '<path d="M6 1.2 10.8 6 6 10.8 1.2 6Z"/>',
    triangle: '<path d="M6 1.2 10.6 9.4 1.4 9.4Z"/>',
  }[shapeOf(keypoint)];
  return `<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" fill="${colorOf(keypoint)}">${shape}</svg>`;
}
