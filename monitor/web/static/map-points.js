// Radar points of satellites on the map of a site: layers, colours, legend, description and the plot of one point.
"use strict";
window.SlopewardPoints = (() => {
  const M = window.SlopewardMap;
  // Orange is below zero and violet above, which colour-blind readers can tell apart.
  const COLOURS = ["#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d8daeb", "#998ec3", "#542788"];
  const NICE_STEPS = [1, 2, 5, 10];
  const away = tr("away from the satellite");
  const towards = tr("towards the satellite");
  // What a velocity below and above zero means, by the direction of the set.
  const MEANINGS = {
    "los-towards": [away, towards],
    "los-away": [towards, away],
    up: [tr("downwards"), tr("upwards")],
    east: [tr("westwards"), tr("eastwards")],
    north: [tr("southwards"), tr("northwards")],
  };
  const PLOT = { width: 460, height: 190, left: 52, right: 10, top: 12, bottom: 26 };
  let largestRate = 10; // mm/year at the ends of the colour scale

  function makeElement(tag, attributes = {}, ...children) {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  }

  const formatNumber = (value) =>
    value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString();
  const formatDay = (instant) => instant.slice(0, 10);
  const listBreaks = () => [-1, -0.5, -0.2, 0.2, 0.5, 1].map((share) => share * largestRate);

  function formatRate(rate, direction) {
    const value = `${formatNumber(rate)} ${tr("mm/year")}`;
    if (!rate) {
      return value;
    }
    const meaning = MEANINGS[direction]?.[rate < 0 ? 0 : 1] ?? direction;
    return `${value} (${meaning})`;
  }

  // ---- layers -----------------------------------------------------------------------------------
  function makeColour() {
    const steps = listBreaks().flatMap((bound, k) => [bound, COLOURS[k + 1]]);
    const rate = ["get", "rate_mm_per_year"];
    return ["case", ["==", rate, null], M.readColour("--muted"), ["step", ["to-number", rate], COLOURS[0], ...steps]];
  }

  const squareLayer = () => ({
    id: "squares",
    type: "fill",
    source: "points",
    filter: ["==", ["geometry-type"], "Polygon"],
    paint: { "fill-color": makeColour(), "fill-opacity": 0.8, "fill-antialias": false },
  });

  const pointLayer = () => ({
    id: "points",
    type: "circle",
    source: "points",
    filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-radius": ["interpolate", ["linear"], ["zoom"], 11, 1.8, 16, 5],
      "circle-stroke-width": 0.6,
      "circle-stroke-color": M.readColour("--text"),
      "circle-stroke-opacity": 0.5,
      "circle-color": makeColour(),
    },
  });

  /** Fit the colour scale to 95 of 100 of the points that are shown. */
  function fit(answer, map) {
    const sizes = answer.features.map(({ properties }) => Math.abs(properties.rate_mm_per_year ?? 0));
    sizes.sort((a, b) => a - b);
    const large = sizes[Math.floor(0.95 * (sizes.length - 1))] ?? 10;
    const power = 10 ** Math.floor(Math.log10(large || 10));
    const fitting = NICE_STEPS.map((step) => step * power).find((rate) => rate >= large) ?? 10;
    if (fitting === largestRate) {
      return;
    }
    largestRate = fitting;
    map.setPaintProperty("points", "circle-color", makeColour());
    map.setPaintProperty("squares", "fill-color", makeColour());
  }

  // ---- legend -----------------------------------------------------------------------------------
  function describePeriod(answer) {
    if (!answer.from_at) {
      return tr("mean velocity of radar points until then, mm/year:");
    }
    return tr("mean velocity of radar points from {from} to {until}, mm/year:", {
      from: formatDay(answer.from_at),
      until: formatDay(answer.newest_at),
    });
  }

  function describeCount(answer) {
    const all = answer.inside.toLocaleString(document.documentElement.lang || "en");
    if (answer.shown === "squares") {
      return tr("each square: median of its points; {all} points, zoom in for each of them", { all });
    }
    if (answer.inside > answer.features.length) {
      return tr("{shown} of {all} points", { shown: answer.features.length, all });
    }
    return tr("every point is shown: {all}", { all });
  }

  /** Return the items of the legend; none without points. */
  function explain(answer) {
    if (!answer?.features.length) {
      return [];
    }
    const [below, above] = MEANINGS[answer.sets[answer.set]] ?? ["", ""];
    const breaks = listBreaks();
    const ramp = makeElement("span", { className: "kramp" });
    for (const colour of COLOURS) {
      const part = makeElement("i");
      part.style.background = colour;
      ramp.append(part);
    }
    const low = ` ${formatNumber(breaks[0])} ${below} `;
    const high = ` ${formatNumber(breaks.at(-1))} ${above}; `;
    return [makeElement("li", {}, describePeriod(answer), low, ramp, high, describeCount(answer))];
  }

  // ---- description ------------------------------------------------------------------------------
  /** Return title and rows for a point or a square of points. */
  function describe(properties, answer) {
    const direction = answer.sets[answer.set];
    const tooFew = tr("too few acquisitions");
    if (properties.points !== undefined) {
      const { rated } = properties;
      const rows = [
        [tr("Median"), rated ? formatRate(properties.rate_mm_per_year, direction) : tooFew],
        [tr("From"), rated ? formatRate(properties.least_mm_per_year, direction) : ""],
        [tr("To"), rated ? formatRate(properties.most_mm_per_year, direction) : ""],
        [tr("Set"), answer.set],
      ];
      return [tr("Square of {count} radar points", { count: properties.points }), rows];
    }
    const rate = properties.rate_mm_per_year;
    const hasRate = rate !== undefined && rate !== null;
    const rows = [
      [tr("Mean velocity"), hasRate ? formatRate(rate, direction) : tooFew],
      [tr("Error"), hasRate ? `${formatNumber(properties.error_mm_per_year)} ${tr("mm/year")}` : ""],
      [tr("Acquisitions"), `${properties.epochs}`],
      [tr("Newest"), properties.newest_at ? formatDay(properties.newest_at) : ""],
      [tr("Set"), answer.set],
    ];
    return [tr("Radar point {name}", { name: properties.point }), rows];
  }

  // ---- plot of one point ------------------------------------------------------------------------
  function makeShape(tag, attributes, text = "") {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) {
      shape.setAttribute(name, value);
    }
    shape.textContent = text;
    return shape;
  }

  function describeSeries(series, targets) {
    const acquisitions = tr("{count} acquisitions from {from} to {until}; the newest value is {value} mm.", {
      count: series.at.length,
      from: formatDay(series.at[0]),
      until: formatDay(series.at.at(-1)),
      value: formatNumber(series.value_mm.at(-1)),
    });
    const last = targets.at(-1);
    if (last) {
      const forecast = tr("Forecast for {at}: {low} to {high} mm (interval of 80 %).", {
        at: formatDay(last.target_at),
        low: formatNumber(last.q10),
        high: formatNumber(last.q90),
      });
      return `${acquisitions} ${forecast}`;
    }
    const reason = series.forecast[0]?.reason;
    return `${acquisitions} ${reason ? `${tr("Not forecast")}: ${reason}` : tr("Not forecast")}`;
  }

  function makeScales(times, targetTimes, values) {
    const { width, height, left, right, top, bottom } = PLOT;
    const low = Math.min(...values);
    const high = Math.max(...values, low + 1);
    const first = times[0];
    const last = Math.max(times.at(-1), ...targetTimes, first + 1);
    const innerWidth = width - left - right;
    const innerHeight = height - top - bottom;
    return {
      low,
      high,
      last,
      toX: (at) => (left + (innerWidth * (at - first)) / (last - first)).toFixed(1),
      toY: (mm) => (height - bottom - (innerHeight * (mm - low)) / (high - low)).toFixed(1),
    };
  }

  function drawAxes(svg, series, { low, high, last, toY }) {
    const { width, height, left, right, top } = PLOT;
    for (const mm of [low, (low + high) / 2, high]) {
      const y = toY(mm);
      svg.append(
        makeShape("line", { x1: left, x2: width - right, y1: y, y2: y, class: "grid" }),
        makeShape("text", { x: left - 5, y: Number(y) + 4, "text-anchor": "end" }, formatNumber(mm)),
      );
    }
    const end = new Date(last).toISOString().slice(0, 10);
    svg.append(
      makeShape("text", { x: left, y: height - 8 }, formatDay(series.at[0])),
      makeShape("text", { x: width - right, y: height - 8, "text-anchor": "end" }, end),
      makeShape("text", { x: left + 4, y: top - 2 }, "mm"),
    );
  }

  function drawForecast(svg, targets, targetTimes, start, { toX, toY }) {
    if (!targets.length) {
      return;
    }
    const listPoints = (quantile) => targets.map((target, k) => `${toX(targetTimes[k])},${toY(target[quantile])}`);
    const band = [start, ...listPoints("q90"), ...listPoints("q10").reverse()];
    const median = [start, ...listPoints("q50")];
    svg.append(
      makeShape("polygon", { points: band.join(" "), class: "fan" }),
      makeShape("polyline", { points: median.join(" "), class: "ahead" }),
    );
  }

  /** Return a figure with the series of a point and its forecast; null without values. */
  function plot(series) {
    if (!series.at.length) {
      return null;
    }
    const targets = series.forecast.filter((target) => target.q50 !== null && !target.reason);
    const times = series.at.map(Date.parse);
    const targetTimes = targets.map((target) => Date.parse(target.target_at));
    const values = [...series.value_mm, ...targets.flatMap((target) => [target.q10, target.q90])];
    const scales = makeScales(times, targetTimes, values);
    const text = describeSeries(series, targets);
    const svg = makeShape("svg", {
      viewBox: `0 0 ${PLOT.width} ${PLOT.height}`,
      role: "img",
      class: "pointplot",
      "aria-label": text,
    });
    drawAxes(svg, series, scales);
    const start = `${scales.toX(times.at(-1))},${scales.toY(series.value_mm.at(-1))}`;
    drawForecast(svg, targets, targetTimes, start, scales);
    const dots = times.map((at, k) => `M${scales.toX(at)} ${scales.toY(series.value_mm[k])}h0`);
    svg.append(makeShape("path", { d: dots.join(""), class: "dots" }));
    const caption = makeElement("figcaption", { className: "note", textContent: text });
    return makeElement("figure", { className: "pointseries" }, svg, caption);
  }

  return { describe, explain, fit, plot, pointLayer, squareLayer };
})();
