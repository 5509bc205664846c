// Paint the layers of a plot on its canvas.
//
// A layer is an object with one of these keys, each with columns [x, y, ...]: `line`, `band`, `bars`,
// `points`; or `bound` (a horizontal line at a value); or `blocks` (rectangles in rows).
"use strict";
(() => {
  const DASHES = { solid: [], dash: [7, 4], dot: [2, 3], long: [10, 3, 2, 3] };
  const { readColour } = Slopeward;

  const getColumns = (layer) => layer.line ?? layer.points ?? layer.bars ?? layer.band;
  const isNumber = (value) => value !== null && value !== undefined && Number.isFinite(value);
  const getDash = (layer) => DASHES[layer.dash] ?? layer.dash ?? [];

  function makeHatching(context, colour, ratio) {
    const tile = document.createElement("canvas");
    tile.width = 8 * ratio;
    tile.height = 8 * ratio;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.lineWidth = 1.2 * ratio;
    for (const shift of [-8, 0, 8]) {
      pen.moveTo((shift - 1) * ratio, 9 * ratio);
      pen.lineTo((shift + 9) * ratio, -ratio);
    }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  function paintMark(context, shape, x, y, radius) {
    context.beginPath();
    if (shape === "cross") {
      context.moveTo(x - radius, y - radius);
      context.lineTo(x + radius, y + radius);
      context.moveTo(x + radius, y - radius);
      context.lineTo(x - radius, y + radius);
      context.stroke();
      return;
    }
    if (shape === "up" || shape === "down") {
      const direction = shape === "up" ? -1 : 1;
      context.moveTo(x - radius, y - direction * radius);
      context.lineTo(x + radius, y - direction * radius);
      context.lineTo(x, y + direction * radius);
      context.closePath();
    } else {
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
  }

  /** What painters of layers share: the canvas, its scale, and the functions from values to pixels. */
  function makeCanvas(plot, spec) {
    return {
      context: plot.ctx,
      box: plot.bbox,
      ratio: devicePixelRatio || 1,
      toX: (value) => plot.valToPos(value, "x", true),
      toY: (value) => plot.valToPos(value, "y", true),
      lastX: plot.scales.x.max,
      isLogarithmic: Boolean(spec.y.log),
      labels: [],
    };
  }

  function paintBand(canvas, layer) {
    const { context, ratio, toX, toY } = canvas;
    const [x, low, high] = layer.band;
    const shape = new Path2D();
    x.forEach((at, k) => shape.lineTo(toX(at), toY(high[k])));
    for (let k = x.length - 1; k >= 0; k--) {
      shape.lineTo(toX(x[k]), toY(low[k]));
    }
    context.fill(shape);
    if (layer.hatched) {
      context.globalAlpha = 0.55;
      context.fillStyle = makeHatching(context, layer.hatched, ratio);
      context.fill(shape);
    }
  }

  function paintBars(canvas, layer) {
    const { context, box, ratio, toX, toY } = canvas;
    const [x, y, width] = layer.bars;
    x.forEach((at, k) => {
      const left = toX(at - width);
      const right = toX(at);
      const top = toY(y[k]);
      const isVisible = right > box.left && left < box.left + box.width;
      if (isVisible) {
        context.fillRect(left, top, Math.max(right - left - ratio, ratio), toY(0) - top);
      }
    });
  }

  function paintPoints(canvas, layer) {
    const { context, ratio, toX, toY } = canvas;
    const [x, y] = layer.points;
    const radius = (layer.size ?? 4) * ratio;
    x.forEach((at, k) => {
      const shape = Array.isArray(layer.shape) ? layer.shape[k] : layer.shape;
      paintMark(context, shape, toX(at), toY(y[k]), radius);
    });
  }

  function paintBound(canvas, layer) {
    const { context, box, ratio, toY, labels } = canvas;
    const y = Math.round(toY(layer.bound)) + 0.5;
    context.beginPath();
    context.moveTo(box.left, y);
    context.lineTo(box.left + box.width, y);
    context.stroke();
    if (layer.label && y > box.top && y < box.top + box.height) {
      labels.push({ text: layer.label, y: y - 3 * ratio, colour: layer.colour });
    }
  }

  function paintBlocks(canvas, layer) {
    const { context, ratio, toX, toY } = canvas;
    for (const block of layer.blocks) {
      const left = toX(block.from);
      const right = Math.max(toX(block.to), left + 2 * ratio);
      context.fillStyle = block.colour;
      context.fillRect(left, toY(block.row) - 7 * ratio, right - left, 14 * ratio);
    }
  }

  function paintLine(canvas, layer) {
    const { context, ratio, toX, toY, lastX, isLogarithmic, labels } = canvas;
    const [x, y] = layer.line;
    const canBeDrawn = (value) => isNumber(value) && !(isLogarithmic && value <= 0);
    const path = new Path2D();
    let isPenDown = false;
    let last = -1;
    for (let k = 0; k < x.length; k++) {
      if (!canBeDrawn(y[k])) {
        isPenDown = false;
        continue;
      }
      if (isPenDown) {
        path.lineTo(toX(x[k]), toY(y[k]));
      } else {
        path.moveTo(toX(x[k]), toY(y[k]));
      }
      if (x[k] <= lastX) {
        last = k;
      }
      isPenDown = true;
    }
    context.stroke(path);
    if (layer.dots) {
      context.setLineDash([]);
      x.forEach((at, k) => {
        if (canBeDrawn(y[k])) {
          paintMark(context, "round", toX(at), toY(y[k]), layer.dots * ratio);
        }
      });
    }
    if (layer.label && last >= 0) {
      labels.push({ text: layer.label, x: toX(x[last]), y: toY(y[last]) + 4 * ratio, colour: layer.colour });
    }
  }

  function paintLayer(canvas, layer) {
    const { context, ratio } = canvas;
    context.globalAlpha = layer.alpha ?? 1;
    context.strokeStyle = layer.colour;
    context.fillStyle = layer.colour;
    context.lineWidth = (layer.width ?? 1.8) * ratio;
    context.setLineDash(getDash(layer).map((length) => length * ratio));
    context.lineJoin = "round";
    if (layer.band) {
      paintBand(canvas, layer);
    } else if (layer.bars) {
      paintBars(canvas, layer);
    } else if (layer.points) {
      paintPoints(canvas, layer);
    } else if (layer.bound !== undefined) {
      paintBound(canvas, layer);
    } else if (layer.blocks) {
      paintBlocks(canvas, layer);
    } else {
      paintLine(canvas, layer);
    }
  }

  // Labels at the right end, none over another. A label without room is left to the legend.
  function paintLabels(canvas) {
    const { context, box, ratio } = canvas;
    const lineHeight = 12 * ratio;
    const bottom = box.top + box.height;
    context.save();
    context.font = `600 ${11 * ratio}px ${readColour("--font")}`;
    context.textAlign = "right";
    context.lineWidth = 3 * ratio;
    context.strokeStyle = readColour("--panel");
    context.lineJoin = "round";
    const placed = [];
    const positions = [];
    for (const label of canvas.labels) {
      const wanted = Math.min(Math.max(label.y, box.top + 11 * ratio), bottom - 2 * ratio);
      const isFree = (y) =>
        y > box.top + 10 * ratio && y < bottom && positions.every((other) => Math.abs(other - y) >= lineHeight);
      const y = [0, -13, 13, -26, 26].map((shift) => wanted + shift * ratio).find(isFree);
      if (y !== undefined) {
        positions.push(y);
        placed.push({ ...label, y: wanted });
      }
    }
    // Labels are in the order of what they name.
    positions.sort((a, b) => a - b);
    placed.sort((a, b) => a.y - b.y);
    placed.forEach((label, k) => {
      const right = box.left + box.width - 4 * ratio;
      const width = context.measureText(label.text).width;
      const x = label.x === undefined ? right : Math.min(label.x + 6 * ratio + width, right);
      context.strokeText(label.text, x, positions[k]);
      context.fillStyle = label.colour;
      context.fillText(label.text, x, positions[k]);
    });
    context.restore();
  }

  function paintEventLine(canvas, at) {
    const { context, box, ratio, toX } = canvas;
    context.save();
    context.strokeStyle = readColour("--text");
    context.setLineDash([3 * ratio, 3 * ratio]);
    context.lineWidth = 1.5 * ratio;
    context.beginPath();
    context.moveTo(toX(at), box.top);
    context.lineTo(toX(at), box.top + box.height);
    context.stroke();
    context.restore();
  }

  /** Paint all layers of a spec, their labels, and the vertical line at `spec.at`. */
  function paintLayers(plot, spec) {
    const canvas = makeCanvas(plot, spec);
    const { context, box } = canvas;
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    for (const layer of spec.layers) {
      paintLayer(canvas, layer);
    }
    context.restore();
    paintLabels(canvas);
    if (spec.at !== undefined) {
      paintEventLine(canvas, spec.at);
    }
  }

  Object.assign(Slopeward, { getColumns, getDash, isNumber, paintLayers });
})();
