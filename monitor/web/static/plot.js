// A plot with axes, cursor and zoom (uPlot 1.6), its legend, and the values at an instant.
//
// A spec is { x: { from, to, log?, day?, title? }, y: { unit?, log?, zero?, least?, range?, rows?, dates? },
// layers, at? }. Layers are described in plot-layers.js.
"use strict";
(() => {
  const { countDecimals, fitRange, formatClock, formatNumber, formatTicks, zone } = Slopeward;
  const { getColumns, getDash, isNumber, paintLayers, readColour } = Slopeward;
  const AXIS_WIDTH = 52;
  const DATE_STEPS_S = [3600, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000, 2_592_000, 31_536_000];
  const LEAST_DRAG_PX = 4;
  // A4 without margins. A wider plot would be shrunk, with its text, to the width of the paper.
  const PRINT_WIDTH = 700;
  let isPrinting = false;

  function getAxisWidth(y) {
    if (y.rows) {
      const longest = Math.max(...y.rows.map((row) => row.length));
      return Math.min(110, 16 + 7 * longest);
    }
    return y.dates ? 60 : AXIS_WIDTH;
  }

  function makeNumberFormat(isLogarithmic) {
    return (_, splits, axis, space, step) =>
      splits.map((value) => {
        if (value === null) {
          return null;
        }
        return isLogarithmic ? formatNumber(value) : Number(value.toFixed(countDecimals(step))).toString();
      });
  }

  function makeXAxis(spec, style, isHidden, formatNumbers) {
    const isLogarithmic = Boolean(spec.x.log);
    let values = formatTicks;
    if (isLogarithmic) {
      values = formatNumbers;
    } else if (spec.x.day) {
      values = (_, splits) => splits.map((at) => (at === null ? null : formatClock(at)));
    }
    return {
      ...style,
      show: !isHidden,
      size: isLogarithmic ? 38 : 42,
      space: isLogarithmic ? 40 : 62,
      label: spec.x.title,
      labelSize: 14,
      labelFont: style.font,
      values,
    };
  }

  function makeYAxis(spec, style, formatNumbers) {
    const { rows, dates, log } = spec.y;
    const axis = { ...style, size: getAxisWidth(spec.y), space: rows ? 1 : 28, values: formatNumbers };
    if (log) {
      const isPowerOfTen = (value) => Number.isInteger(Math.log10(value));
      axis.grid = { ...style.grid, filter: (_, splits) => splits.map((v) => (isPowerOfTen(v) ? v : null)) };
      axis.ticks = { show: false };
    }
    if (rows) {
      axis.values = (_, splits) => splits.map((row) => rows[row] ?? "");
      axis.splits = () => rows.map((_, row) => row);
    }
    if (dates) {
      axis.values = formatTicks;
      axis.incrs = DATE_STEPS_S;
    }
    return axis;
  }

  function keepSizeOf(host) {
    if (host.resizeObserver) {
      return;
    }
    host.resizeObserver = new ResizeObserver(() => {
      if (host.plot && host.clientWidth > 0) {
        host.plot.setSize({ width: host.clientWidth, height: host.clientHeight });
      }
    });
    host.resizeObserver.observe(host);
  }

  /**
   * Draw a spec in an element, instead of the plot that is there.
   *
   * Options: `hideX`: without the axis of time; `onCursor(at, plot)`: the cursor moved, `at` is null
   * outside; `onZoom(from, to, isAll)`: the reader chose a range, with a double click all of it.
   */
  function drawPlot(host, spec, { hideX = false, onCursor, onZoom } = {}) {
    host.plot?.destroy();
    let shown = [spec.x.from, spec.x.to];
    const grid = { stroke: readColour("--grid"), width: 1 };
    const style = { stroke: readColour("--muted"), grid, ticks: grid, font: `11px ${readColour("--font")}` };
    const formatNumbers = makeNumberFormat(Boolean(spec.y.log));
    const zoomTo = (plot, from, to, isAll) => {
      if (onZoom) {
        onZoom(from, to, isAll);
      } else {
        plot.setScale("x", { min: from, max: to });
      }
    };
    const options = {
      width: isPrinting ? Math.min(host.clientWidth, PRINT_WIDTH) : Math.max(host.clientWidth, 120),
      height: host.clientHeight,
      padding: [8, 8, hideX ? 4 : 0, 0],
      legend: { show: false },
      cursor: {
        x: true,
        y: false,
        points: { show: false },
        drag: { x: !spec.x.log, y: false, setScale: false },
        focus: { prox: -1 },
      },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zone),
      scales: {
        x: {
          time: !spec.x.log,
          distr: spec.x.log ? 3 : 1,
          range: (_, from, to) => {
            shown = [from ?? shown[0], to ?? shown[1]];
            return shown;
          },
        },
        y: { time: false, distr: spec.y.log ? 3 : 1, range: () => fitRange(spec, ...shown) },
      },
      axes: [makeXAxis(spec, style, hideX, formatNumbers), makeYAxis(spec, style, formatNumbers)],
      // The layers are painted by the hook `draw`; uPlot itself only needs a series for its scales.
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        draw: [(plot) => paintLayers(plot, spec)],
        setCursor: [
          (plot) => {
            const isOutside = plot.cursor.left < 0;
            onCursor?.(isOutside ? null : plot.posToVal(plot.cursor.left, "x"), plot);
          },
        ],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width > LEAST_DRAG_PX) {
              zoomTo(plot, plot.posToVal(left, "x"), plot.posToVal(left + width, "x"), false);
            }
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    };
    const data = [
      [spec.x.from, spec.x.to],
      [1, 1],
    ];
    const plot = new uPlot(options, data, host);
    plot.over.addEventListener("dblclick", () => zoomTo(plot, spec.x.from, spec.x.to, true));
    host.plot = plot;
    host.spec = spec;
    keepSizeOf(host);
    return plot;
  }

  // ---- values at an instant ---------------------------------------------------------------------
  function findNearest(x, at) {
    let nearest = -1;
    x.forEach((value, k) => {
      if (nearest < 0 || Math.abs(value - at) < Math.abs(x[nearest] - at)) {
        nearest = k;
      }
    });
    return nearest;
  }

  function findFirstFrom(x, at) {
    let low = 0;
    let high = x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < at) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  function findPosition(layer, x, at) {
    if (layer.unsorted) {
      return findNearest(x, at);
    }
    const following = findFirstFrom(x, at);
    if (layer.bars) {
      return following;
    }
    const isEarlierNearer = following > 0 && at - x[following - 1] < (x[following] ?? Infinity) - at;
    return isEarlierNearer ? following - 1 : following;
  }

  /** Return the value of each layer nearest to an instant, if it is at most `reach` away. */
  function findValuesAt(spec, at, reach) {
    const values = [];
    for (const layer of spec.layers) {
      if (layer.blocks) {
        const blocks = layer.blocks.filter((block) => at >= block.from && at < block.to);
        values.push(...blocks.map((block) => ({ layer, text: block.text })));
        continue;
      }
      if (layer.mute || layer.bound !== undefined || layer.band) {
        continue;
      }
      const [x, y] = getColumns(layer);
      const k = findPosition(layer, x, at);
      if (k < 0 || k >= x.length || !isNumber(y[k]) || Math.abs(x[k] - at) > reach) {
        continue;
      }
      const text = layer.text ? layer.text(k) : `${formatNumber(y[k], layer.unit)} ${layer.unit ?? ""}`.trim();
      values.push({ layer, k, value: y[k], text });
    }
    return values;
  }

  // ---- legend -----------------------------------------------------------------------------------
  function drawSymbol(layer) {
    if (layer.points) {
      return layer.shape === "cross"
        ? `<path d="M8 1 L18 11 M18 1 L8 11" stroke="${layer.colour}" stroke-width="2.5"/>`
        : `<circle cx="13" cy="6" r="4" fill="${layer.colour}"/>`;
    }
    const dash = getDash(layer).join(" ") || "none";
    const isArea = layer.band || layer.bars || layer.blocks;
    const line =
      `<path d="M1 6 H25" stroke="${layer.colour}" stroke-width="${isArea ? 9 : 2.5}"` +
      ` stroke-dasharray="${dash}" opacity="${layer.alpha ?? 1}"/>`;
    if (!layer.hatched) {
      return line;
    }
    return `${line}<path d="M3 10 L9 2 M11 10 L17 2 M19 10 L25 2" stroke="${layer.hatched}" class="hatched"/>`;
  }

  /** Return the legend as a list below the plot. Inside the plot it would take half of a phone's screen. */
  function makeLegend(layers) {
    const list = document.createElement("ul");
    list.className = "key";
    const names = new Set();
    for (const layer of layers) {
      if (!layer.name || names.has(layer.name)) {
        continue;
      }
      names.add(layer.name);
      const item = document.createElement("li");
      item.innerHTML = `<svg viewBox="0 0 26 12" aria-hidden="true">${drawSymbol(layer)}</svg>`;
      item.append(layer.name);
      list.append(item);
    }
    return list;
  }

  // ---- colours and ranges of the page -----------------------------------------------------------
  /** Call a function when the colours change. On paper they are always light. */
  function onColourChange(redraw) {
    const root = document.documentElement;
    document.addEventListener("themechange", redraw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    let themeOnScreen;
    addEventListener("beforeprint", () => {
      themeOnScreen = root.dataset.theme;
      root.dataset.theme = "light";
      isPrinting = true;
      redraw();
    });
    addEventListener("afterprint", () => {
      if (themeOnScreen) {
        root.dataset.theme = themeOnScreen;
      } else {
        delete root.dataset.theme;
      }
      isPrinting = false;
      redraw();
    });
  }

  /** Make the buttons with `data-span` choose a range. Return a function that shows a span as chosen. */
  function bindSpanButtons(onChoose) {
    const buttons = [...document.querySelectorAll("[data-span]")];
    const showChosen = (span) => {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.span === span));
      }
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        showChosen(button.dataset.span);
        onChoose(button.dataset.span);
      });
    }
    return showChosen;
  }

  Object.assign(Slopeward, { bindSpanButtons, drawPlot, findValuesAt, makeLegend, onColourChange });
})();
