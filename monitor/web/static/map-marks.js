// Marks on a map. They are drawn when a style first needs them, and are named KIND|...:
// `station|slope|LEVEL|bad`, `station|control|LEVEL|`, `site|slope|LEVEL|`, `group|slope|LEVEL|`, `arrow|LENGTH`.
"use strict";
(() => {
  const { readColour } = SlopewardMap;
  const PIXEL_RATIO = 2;
  const ARROW_WIDTH = 20;
  // Corners and radius of the mark of a level. Without corners it is a circle.
  const SHAPES = {
    0: [0, 7],
    u: [0, 7],
    b: [3, 10],
    1: [3, 10],
    2: [4, 10],
    3: [6, 10],
    4: [8, 11],
    control: [4, 8],
  };

  const isMark = (id) => /^(station|site|group|arrow)\|/.test(id);

  function traceShape(pen, corners, radius, turn) {
    pen.beginPath();
    if (corners) {
      for (let k = 0; k < corners; k++) {
        const angle = (2 * Math.PI * k) / corners - Math.PI / 2 + turn;
        pen.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
      }
    } else {
      pen.arc(0, 0, radius, 0, 2 * Math.PI);
    }
    pen.closePath();
  }

  function openCanvas(width, height) {
    const canvas = document.createElement("canvas");
    canvas.width = width * PIXEL_RATIO;
    canvas.height = height * PIXEL_RATIO;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.scale(PIXEL_RATIO, PIXEL_RATIO);
    pen.lineJoin = "round";
    pen.lineCap = "round";
    return pen;
  }

  const readImage = (pen) => pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height);

  function drawArrow(length) {
    const height = length + 4;
    const pen = openCanvas(ARROW_WIDTH, height);
    const middle = ARROW_WIDTH / 2;
    // A light outline keeps the arrow visible on an image.
    const strokes = [
      [6, readColour("--panel")],
      [2.6, readColour("--text")],
    ];
    for (const [width, colour] of strokes) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(middle, height - 2);
      pen.lineTo(middle, 5);
      pen.moveTo(middle - 5, 11);
      pen.lineTo(middle, 4);
      pen.lineTo(middle + 5, 11);
      pen.stroke();
    }
    return readImage(pen);
  }

  function fillOfLevel(level, isControl) {
    if (level === "u") {
      return readColour("--fill-u");
    }
    if (level === "0") {
      return readColour(isControl ? "--panel" : "--lv-0");
    }
    return readColour(`--fill-${level}`);
  }

  function drawCross(pen) {
    const strokes = [
      [5, readColour("--panel")],
      [2.5, readColour("--flag")],
    ];
    for (const [width, colour] of strokes) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(-4, -4);
      pen.lineTo(4, 4);
      pen.moveTo(4, -4);
      pen.lineTo(-4, 4);
      pen.stroke();
    }
  }

  function drawSymbol(kind, place, level, isBad) {
    const isControl = kind === "station" && place === "control" && (level === "0" || level === "u");
    const isGroup = kind === "group";
    const [corners, radius] = SHAPES[isControl ? "control" : level] ?? SHAPES.u;
    const side = 2 * (radius + (isGroup ? 8 : 5));
    const turn = isControl ? Math.PI / 4 : 0;
    const pen = openCanvas(side, side);
    pen.translate(side / 2, side / 2);
    const fills = [
      [4, readColour("--panel")],
      [2, readColour("--text")],
      [0, fillOfLevel(level, isControl)],
    ];
    for (const [margin, colour] of fills) {
      traceShape(pen, corners, radius + margin, turn);
      pen.fillStyle = colour;
      pen.fill();
    }
    if (isGroup) {
      traceShape(pen, corners, radius + 5, turn);
      pen.strokeStyle = readColour("--text");
      pen.lineWidth = 2;
      pen.stroke();
    }
    if (isBad) {
      drawCross(pen);
    }
    return readImage(pen);
  }

  /** Return the pixels of a mark by its name. */
  function drawMark(id) {
    const [kind, second, level, health] = id.split("|");
    return kind === "arrow" ? drawArrow(Number(second)) : drawSymbol(kind, second, level, health === "bad");
  }

  Object.assign(SlopewardMap, { MARK_PIXEL_RATIO: PIXEL_RATIO, drawMark, isMark });
})();
