// Satellite points on the map of a site: colours of mean velocities, squares of many, the key in
// words, one point with its series.
"use strict";
window.SlopewardPoints = (() => {
  const M = window.SlopewardMap;
  // below zero is orange, above it violet: told apart by the colour-blind too
  const RAMP = ["#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d8daeb", "#998ec3", "#542788"];
  const away = tr("away from the satellite");
  const towards = tr("towards the satellite");
  const MEANT = {
    // what a velocity below and above zero is, by the direction of the set
    "los-towards": [away, towards],
    "los-away": [towards, away],
    up: [tr("downwards"), tr("upwards")],
    east: [tr("westwards"), tr("eastwards")],
    north: [tr("southwards"), tr("northwards")],
  };
  const WIDE = 460;
  const HIGH = 190;
  const LEFT = 52;
  const RIGHT = 10;
  const TOP = 12;
  const BOTTOM = 26;
  let scale = 10;

  const make = (tag, attributes = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const show = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());
  const breaks = () => [-1, -0.5, -0.2, 0.2, 0.5, 1].map((k) => k * scale);
  const meant = (direction, rate) => MEANT[direction]?.[rate < 0 ? 0 : 1] ?? direction;
  const spellRate = (rate, direction) => `${show(rate)} ${tr("mm/year")}${rate ? ` (${meant(direction, rate)})` : ""}`;
  const day = (instant) => instant.slice(0, 10);

  const colour = () => [
    "case",
    ["==", ["get", "rate_mm_per_year"], null],
    M.css("--muted"),
    [
      "step",
      ["to-number", ["get", "rate_mm_per_year"]],
      RAMP[0],
      ...breaks().flatMap((bound, k) => [bound, RAMP[k + 1]]),
    ],
  ];
  const squareLayer = () => ({
    id: "squares",
    type: "fill",
    source: "points",
    filter: ["==", ["geometry-type"], "Polygon"],
    paint: { "fill-color": colour(), "fill-opacity": 0.8, "fill-antialias": false },
  });
  const pointLayer = () => ({
    id: "points",
    type: "circle",
    source: "points",
    filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-radius": ["interpolate", ["linear"], ["zoom"], 11, 1.8, 16, 5],
      "circle-stroke-width": 0.6,
      "circle-stroke-color": M.css("--text"),
      "circle-stroke-opacity": 0.5,
      "circle-color": colour(),
    },
  });
  // the colours reach as far as 95 of 100 of what is shown
  function fit(found, map) {
    const sizes = found.features.map((f) => Math.abs(f.properties.rate_mm_per_year ?? 0)).sort((x, y) => x - y);
    const large = sizes[Math.floor(0.95 * (sizes.length - 1))] ?? 10;
    const power = 10 ** Math.floor(Math.log10(large || 10));
    const fitting = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= large) ?? 10;
    if (fitting === scale) {
      return;
    }
    scale = fitting;
    map.setPaintProperty("points", "circle-color", colour());
    map.setPaintProperty("squares", "fill-color", colour());
  }

  function explain(said) {
    if (!said?.features.length) {
      return [];
    }
    const [below, above] = MEANT[said.sets[said.set]] ?? ["", ""];
    const bounds = breaks();
    const ramp = make("span", { className: "kramp" });
    RAMP.forEach((one) => {
      const part = make("i");
      part.style.background = one;
      ramp.append(part);
    });
    const over = said.from_at
      ? tr("mean velocity of radar points from {from} to {until}, mm/year:", {
          from: day(said.from_at),
          until: day(said.newest_at),
        })
      : tr("mean velocity of radar points until then, mm/year:");
    const count = said.inside.toLocaleString(document.documentElement.lang || "en");
    const shown =
      said.shown === "squares"
        ? tr("each square: median of its points; {all} points, zoom in for each of them", { all: count })
        : said.inside > said.features.length
          ? tr("{shown} of {all} points", { shown: said.features.length, all: count })
          : tr("every point is shown: {all}", { all: count });
    return [make("li", {}, over, ` ${show(bounds[0])} ${below} `, ramp, ` ${show(bounds.at(-1))} ${above}; `, shown)];
  }

  // what is known of a mark without asking anybody: title and lines
  function describe(p, said) {
    const direction = said.sets[said.set];
    if (p.points !== undefined) {
      return [
        tr("Square of {count} radar points", { count: p.points }),
        [
          [tr("Median"), p.rated ? spellRate(p.rate_mm_per_year, direction) : tr("too few acquisitions")],
          [tr("From"), p.rated ? spellRate(p.least_mm_per_year, direction) : ""],
          [tr("To"), p.rated ? spellRate(p.most_mm_per_year, direction) : ""],
          [tr("Set"), said.set],
        ],
      ];
    }
    const known = p.rate_mm_per_year !== undefined && p.rate_mm_per_year !== null;
    return [
      tr("Radar point {name}", { name: p.point }),
      [
        [tr("Mean velocity"), known ? spellRate(p.rate_mm_per_year, direction) : tr("too few acquisitions")],
        [tr("Error"), known ? `${show(p.error_mm_per_year)} ${tr("mm/year")}` : ""],
        [tr("Acquisitions"), `${p.epochs}`],
        [tr("Newest"), p.newest_at ? day(p.newest_at) : ""],
        [tr("Set"), said.set],
      ],
    ];
  }

  const draw = (tag, attributes, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) {
      node.setAttribute(name, value);
    }
    node.textContent = text;
    return node;
  };
  /**
   * A picture of the series of a point with its forecast, and the same in a sentence; nothing where
   * it has no values.
   */
  function plot(found) {
    const n = found.at.length;
    if (!n) {
      return null;
    }
    const ahead = found.forecast.filter((one) => one.q50 !== null && !one.reason);
    const times = found.at.map(Date.parse);
    const later = ahead.map((one) => Date.parse(one.target_at));
    const last = found.value_mm[n - 1];
    const all = [...found.value_mm, ...ahead.flatMap((one) => [one.q10, one.q90])];
    const low = Math.min(...all);
    const high = Math.max(...all, low + 1);
    const begin = times[0];
    const end = Math.max(times[n - 1], ...later, begin + 1);
    const x = (at) => (LEFT + ((WIDE - LEFT - RIGHT) * (at - begin)) / (end - begin)).toFixed(1);
    const y = (mm) => (HIGH - BOTTOM - ((HIGH - TOP - BOTTOM) * (mm - low)) / (high - low)).toFixed(1);
    let said = tr("{count} acquisitions from {from} to {until}; the newest value is {value} mm.", {
      count: n,
      from: day(found.at[0]),
      until: day(found.at[n - 1]),
      value: show(last),
    });
    const far = ahead.at(-1);
    if (far) {
      said +=
        " " +
        tr("Forecast for {at}: {low} to {high} mm (interval of 80 %).", {
          at: day(far.target_at),
          low: show(far.q10),
          high: show(far.q90),
        });
    } else {
      said +=
        " " + (found.forecast[0]?.reason ? `${tr("Not forecast")}: ${found.forecast[0].reason}` : tr("Not forecast"));
    }
    const picture = draw("svg", {
      viewBox: `0 0 ${WIDE} ${HIGH}`,
      role: "img",
      class: "pointplot",
      "aria-label": said,
    });
    for (const mm of [low, (low + high) / 2, high]) {
      picture.append(
        draw("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(mm), y2: y(mm), class: "grid" }),
        draw("text", { x: LEFT - 5, y: Number(y(mm)) + 4, "text-anchor": "end" }, show(mm)),
      );
    }
    picture.append(
      draw("text", { x: LEFT, y: HIGH - 8 }, day(found.at[0])),
      draw("text", { x: WIDE - RIGHT, y: HIGH - 8, "text-anchor": "end" }, new Date(end).toISOString().slice(0, 10)),
      draw("text", { x: LEFT + 4, y: TOP - 2 }, "mm"),
    );
    if (ahead.length) {
      const from = `${x(times[n - 1])},${y(last)}`;
      const along = (name) => ahead.map((one, k) => `${x(later[k])},${y(one[name])}`);
      picture.append(
        draw("polygon", { points: [from, ...along("q90"), ...along("q10").reverse()].join(" "), class: "fan" }),
        draw("polyline", { points: [from, ...along("q50")].join(" "), class: "ahead" }),
      );
    }
    picture.append(
      draw("path", { d: times.map((at, k) => `M${x(at)} ${y(found.value_mm[k])}h0`).join(""), class: "dots" }),
    );
    return make(
      "figure",
      { className: "pointseries" },
      picture,
      make("figcaption", { className: "note", textContent: said }),
    );
  }

  return { explain, describe, fit, plot, pointLayer, squareLayer };
})();
