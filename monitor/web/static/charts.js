// The linked chart of a site: panes with one time axis and one cursor, the level and marks along
// the foot, all from one answer.
"use strict";
(() => {
  const box = document.getElementById("chart");
  if (!box?.querySelector(".stack")) {
    return;
  } // no readings yet
  const { css, level, place, show, seconds, unfold, instant, load, picture, find, key, whenColoursChange, spans } =
    Slopeward;
  const site = document.getElementById("main").dataset.site;
  const stations = box.querySelector("[name=station]");
  const quantities = box.querySelector("[name=quantity]");
  const stack = box.querySelector(".stack");
  const others = box.querySelector(".panes");
  const foot = box.querySelector(".foot");
  const says = box.querySelector(".says");
  const EVERY = "*";
  const LEAST_S = 60;
  const MOST_S = 36525 * 86400;
  const LAST_S = 4e9;
  const INKS = ["--curve", "--c1", "--c2", "--c3", "--c4", "--c5"];
  const DASHES = ["solid", "dash", "dot", "long"];
  const asked = new URLSearchParams(location.search);
  let touched = -Infinity;
  let span = box.querySelector("[data-span][aria-pressed=true]").dataset.span;
  let found = null;
  let whole = null;
  let view = null;
  let turn = 0;
  let leaving = null;
  let waits = 0;
  let cursor = null;
  const words = (text) => tr(text.replaceAll("_", " "));
  const days = (s) => `${Number((s / 86400).toPrecision(3))} d`;
  const hours = (s) => (s < 172800 ? `${Number((s / 3600).toPrecision(3))} h` : days(s));
  const unitOf = (unit) => (unit === "1" ? "" : unit);

  // ---- what is asked for ------------------------------------------------------------------------
  const lengths = { s: 1, m: 60, min: 60, h: 3600, d: 86400, w: 604800 };
  const readSpan = (text) => {
    const m = /^(\d+(?:\.\d+)?)(s|min|m|h|d|w)$/.exec(text ?? "");
    return m ? Math.min(Math.max(m[1] * lengths[m[2]], LEAST_S), MOST_S) : null;
  };
  const iso = (s) => new Date(Math.min(Math.max(s, 0), LAST_S) * 1000).toISOString();
  const eventAt = Date.parse(asked.get("at") ?? "") / 1000;
  const isEvent = eventAt > 0 && eventAt < LAST_S;
  function rangeAsked() {
    if (view) {
      return `from=${iso(view[0])}&to=${iso(view[1])}`;
    }
    return `span=${span}`;
  }
  function fillQuantities(wanted) {
    const option = stations.selectedOptions[0];
    const names = option.dataset.quantities.split(" ").filter(Boolean);
    const first = names.includes(wanted) ? wanted : option.dataset.first || names[0];
    quantities.replaceChildren(...names.map((q) => new Option(words(q), q, false, q === first)));
  }

  // ---- layers of the panes ----------------------------------------------------------------------
  // never further ahead than half of what lies behind
  const horizon = (f) => Math.min(f.until, f.to + 0.5 * (f.to - f.from));
  function mainLayers(f) {
    const ink = css("--curve");
    const unit = unitOf(f.unit);
    const at = f.points.at;
    const value = f.points.value;
    const flags = f.points.flags;
    const layers = [];
    const sound = value.map((v, k) => (flags[k] ? null : v));
    const odd = Object.keys(flags).map(Number);
    if (f.forecast) {
      const t = f.forecast.targets;
      const x = [f.forecast.data_until, ...t.at];
      const from = (c) => [f.forecast.data_value, ...t[c]];
      const hatched = f.forecast.is_unusual ? css("--forecast") : undefined;
      layers.push({ band: [x, from("q025"), from("q975")], colour: css("--forecast"), alpha: 0.16, name: "95 %" });
      layers.push({
        band: [x, from("q10"), from("q90")],
        colour: css("--forecast"),
        alpha: 0.26,
        name: hatched ? tr("80 %, outside experience") : "80 %",
        hatched,
      });
      layers.push({
        line: [x, from("q50")],
        colour: css("--forecast"),
        dash: "dash",
        dots: 2.5,
        width: 2,
        name: tr("forecast"),
        text: (k) => {
          if (k === 0) {
            return `${show(f.forecast.data_value, unit)} ${unit}`;
          }
          const range = tr("{from} to {to}", { from: show(t.q10[k - 1], unit), to: show(t.q90[k - 1], unit) });
          return `${show(t.q50[k - 1], unit)} ${unit}, 80 % ${range}`;
        },
      });
    }
    // where a level stands, its bound alone: who is woken asks how far beyond that the slope moves
    const own = f.thresholds.filter((b) => b.level === Number(box.dataset.level));
    for (const b of own.length ? own : f.thresholds) {
      const perDay = unit ? "/day" : ` ${tr("per day")}`;
      const figure = `${show(b.value, unit)}${unit ? ` ${unit}` : ""}${b.ray ? perDay : ""}`;
      const text = `${tr(b.name)} ${tr(b.side)} ${figure}`;
      const look = { colour: level(f.levels, b.level), name: text, label: text, width: 2, alpha: 0.9 };
      layers.push(
        b.ray
          ? { line: [b.ray.at.map(seconds), b.ray.value], dash: "long", mute: true, aside: true, ...look }
          : { bound: b.line, ...look },
      );
    }
    if (f.past?.at.length > 1) {
      layers.push({
        line: [f.past.at, f.past.q50],
        colour: css("--forecast"),
        dash: "dot",
        width: 1.2,
        aside: true,
        unit,
        name: tr("as forecast {span} before", { span: days(f.past.horizon_s) }),
      });
    }
    if (f.quantity === "rain") {
      return [...layers, { bars: [at, value, f.step_s ?? stepOf(at)], colour: css("--rain"), unit, name: tr("rain") }];
    }
    layers.push({ line: [at, sound], colour: ink, dots: at.length < 400 ? 2 : 0, unit, name: tr("observed") });
    if (odd.length) {
      layers.push({
        points: [odd.map((k) => at[k]), odd.map((k) => value[k])],
        shape: "cross",
        width: 2,
        colour: css("--flag"),
        aside: true,
        name: tr("flagged"),
        text: (n) =>
          `${flags[odd[n]]
            .split(",")
            .map((flag) => tr(flag))
            .join(", ")}: ${show(value[odd[n]], unit)} ${unit}`,
      });
    }
    return layers;
  }
  const said = (f) => ({ quantity: words(f.quantity), count: f.series.length });
  const every = (f) =>
    f.from_zero
      ? tr("{quantity} since the left edge, {count} stations", said(f))
      : tr("{quantity}, {count} stations", said(f));
  const stepOf = (at) => (at.length > 1 ? Math.min(...at.slice(1).map((t, k) => t - at[k])) : 3600);

  function velocityPane(f) {
    const unit = "mm/day";
    const layers = f.velocity.bounds
      .toSorted((a, b) => b.level - a.level)
      .map((b) => ({
        bound: b.value,
        colour: level(f.levels, b.level),
        dash: "dash",
        width: 1.6,
        label: `${tr(b.name)} ${show(b.value)}`,
        window: b.window_s,
      }));
    f.velocity.rates.forEach((r, k) => {
      const own = f.velocity.bounds.find((b) => b.window_s === r.window_s);
      layers.push({
        line: [r.at, r.rate.map(Math.abs)],
        colour: own ? level(f.levels, own.level) : css("--curve"),
        dash: DASHES[k % 4],
        width: 1.6,
        unit,
        name: r.window_s ? tr("velocity in {span}", { span: hours(r.window_s) }) : tr("velocity of the stage"),
      });
    });
    return { id: "velocity", title: tr("Velocity"), unit, log: true, layers };
  }
  function otherPane(p, k) {
    const unit = unitOf(p.unit);
    const wet = p.quantity === "rain";
    const title = `${words(p.quantity)} ${p.station}${wet ? ` ${tr("in {span}", { span: hours(p.step_s) })}` : ""}`;
    const layer = wet
      ? { bars: [p.at, p.value, p.step_s], colour: css("--rain") }
      : { line: [p.at, p.value], colour: css(INKS[(k + 1) % INKS.length]) };
    return { id: `${p.station}.${p.quantity}`, title, unit, zero: wet, layers: [{ ...layer, unit, name: title }] };
  }
  function scorePane(f) {
    const by = new Map();
    for (const [k, name] of f.scores.detector.entries()) {
      by.set(name, [...(by.get(name) ?? []), k]);
    }
    const layers = [{ bound: 1, colour: css("--flag"), dash: "dash", width: 1.2 }];
    [...by].forEach(([name, rows], k) =>
      layers.push({
        line: [rows.map((n) => f.scores.at[n]), rows.map((n) => f.scores.ratio[n])],
        colour: css("--advice"),
        width: 1.2,
        dash: DASHES[k % 4],
        dots: 1.5,
        name,
        text: (n) => tr("{value} of its threshold", { value: show(f.scores.ratio[rows[n]]) }),
      }),
    );
    return { id: "score", title: tr("score"), unit: "", zero: true, layers };
  }
  function compareLayers(f) {
    return f.series.map((s, k) => ({
      line: [s.at, s.value],
      colour: css(INKS[k % INKS.length]),
      dash: DASHES[(k + Math.floor(k / 12)) % 4],
      width: 1.5,
      unit: unitOf(f.unit),
      name: s.station,
      label: s.station,
    }));
  }

  function panesOf(f) {
    const x = { from: whole[0], to: whole[1] };
    const main = {
      id: "main",
      title: f.series
        ? every(f)
        : `${words(f.quantity)} ${f.station}${f.step_s ? ` ${tr("in {span}", { span: hours(f.step_s) })}` : ""}`,
      unit: unitOf(f.unit),
      layers: f.series ? compareLayers(f) : mainLayers(f),
      least: 6 * (f.noise_floor ?? 0),
      zero: f.quantity === "rain",
    };
    const list = [main];
    if (f.velocity?.rates.length) {
      list.push(velocityPane(f));
    }
    (f.more ?? []).forEach((p, k) => list.push(otherPane(p, k)));
    if (f.scores?.at.length) {
      list.push(scorePane(f));
    }
    return list.map((p) => ({
      ...p,
      spec: {
        x,
        y: { unit: p.unit, log: p.log, zero: p.zero, least: p.least },
        layers: p.layers,
        ...(isEvent ? { at: eventAt } : {}),
      },
    }));
  }

  // ---- drawing ----------------------------------------------------------------------------------
  let panes = [];
  function holder(id) {
    let node = [...box.querySelectorAll(".pane")].find((p) => p.dataset.pane === id);
    if (!node) {
      node = document.createElement("div");
      node.className = "pane small";
      node.dataset.pane = id;
      node.innerHTML =
        '<p class="head"><b></b> <span class="read"></span></p><div class="plot" aria-hidden="true"></div>';
      others.append(node);
    }
    return node;
  }
  function drawAll() {
    if (!found) {
      return;
    }
    panes = panesOf(found);
    const ids = new Set(panes.map((p) => p.id));
    const seen = view ?? whole;
    for (const node of box.querySelectorAll(".pane.small")) {
      if (!ids.has(node.dataset.pane)) {
        node.querySelector(".plot").plot?.destroy();
        node.remove();
      }
    }
    others.closest("details").hidden = panes.length < 2;
    panes.forEach((p, k) => {
      p.node = holder(p.id);
      p.host = p.node.querySelector(".plot");
      p.node.querySelector("b").textContent = p.unit ? `${p.title}, ${p.unit}` : p.title;
      if (k) {
        others.append(p.node);
      }
      p.plot = picture(p.host, p.spec, {
        bare: k > 0 && k < panes.length - 1,
        read: (at) => point(at, p),
        zoom: (a, b, all) => (all ? reset() : zoom(a, b)),
      });
      p.plot.setScale("x", { min: seen[0], max: seen[1] });
    });
    drawFoot(seen);
    const layers =
      found.series && found.series.length > 24
        ? []
        : panes.flatMap((p) => p.layers.filter((l) => p.id === "main" || (p.id === "velocity" && l.line)));
    box.querySelector(".key").replaceWith(key(layers));
    point(null);
  }

  function sentences(f) {
    const parts = [];
    if (f.forecast) {
      parts.push(
        tr("Forecast, issued {at}: {reason}.", {
          at: Slopeward.minute(f.forecast.issued_at),
          reason: f.forecast.reason,
        }),
      );
    }
    if (f.forecast && f.withheld?.model === "combined") {
      parts.push(tr("Further ahead no forecast: {reason}.", { reason: f.withheld.reason }));
    } else if (!f.forecast && f.withheld) {
      parts.push(tr("No forecast: {reason}.", { reason: f.withheld.reason }));
    }
    if (f.computed) {
      parts.push(tr("Computed from east, north and up along the station's azimuth and plunge."));
    }
    if (f.thinned) {
      parts.push(tr("A long range: between the points drawn there may be higher and lower ones. Zoom in to see them."));
    }
    if (f.left_out) {
      parts.push(tr("{count} more stations are not drawn.", { count: f.left_out }));
    }
    return parts.join(" ");
  }

  const latestOf = (f) => f.points?.value.at(-1);
  function describe(f) {
    const last = latestOf(f);
    const unit = unitOf(f.unit);
    says.textContent = sentences(f) || "\u00a0";
    const latest = box.querySelector(".latest");
    latest.textContent = f.series
      ? ""
      : last === undefined
        ? tr("no reading in this range")
        : `${show(last, unit)} ${unit}`;
    if (f.series) {
      stack.setAttribute("aria-label", every(f));
    } else {
      const summary = tr("{quantity} of {station}: {count} readings, newest {value}.", {
        quantity: words(f.quantity),
        station: f.station,
        count: f.total,
        value: `${show(last, unit)} ${unit}`,
      });
      stack.setAttribute("aria-label", `${summary} ${sentences(f)}`);
    }
    table(f);
  }

  // the same for who cannot see a picture: the newest readings
  function table(f) {
    const rows = f.series
      ? f.series.map((s) => [s.station, s.at.length ? instant(s.at.at(-1)) : "–", show(s.value.at(-1), f.unit), ""])
      : f.points.at
          .map((at, k) => [
            f.station,
            instant(at),
            show(f.points.value[k], f.unit),
            (f.points.flags[k] ?? "")
              .split(",")
              .filter(Boolean)
              .map((w) => tr(w))
              .join(", "),
          ])
          .slice(-20)
          .reverse();
    const head = [
      tr("Station"),
      tr("Time"),
      `${words(f.quantity)}${unitOf(f.unit) ? `, ${f.unit}` : ""}`,
      tr("flagged"),
    ];
    const row = (cells, kind) => {
      const line = document.createElement("tr");
      line.append(
        ...cells.map((text) => {
          const cell = document.createElement(kind);
          cell.textContent = text;
          return cell;
        }),
      );
      return line;
    };
    const made = document.createElement("table");
    const top = made.createTHead();
    const body = made.createTBody();
    top.append(row(head, "th"));
    body.append(...rows.map((cells) => row(cells, "td")));
    box.querySelector(".figures").replaceChildren(made);
  }

  // ---- the foot: level, sight, maintenance, and marks that open their alert ---------------------
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (name, facts, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [k, v] of Object.entries(facts)) {
      node.setAttribute(k, v);
    }
    if (text) {
      const title = document.createElementNS(SVG, "title");
      title.textContent = text;
      node.append(title);
    }
    return node;
  };
  const SHAPES = {
    level: "M-6 -5 H6 L0 6 Z",
    verification: "M0 -6 L6 0 L0 6 L-6 0 Z",
    event: "M-5 -5 H5 V5 H-5 Z",
    report: "M0 -5 A5 5 0 1 0 0.01 -5 Z",
  };
  function drawFoot(seen) {
    const left = 52;
    const width = foot.clientWidth;
    const inner = width - left - 8;
    const X = (at) => left + inner * Math.min(Math.max((at - seen[0]) / (seen[1] - seen[0]), 0), 1);
    const inside = (from, to) => to > seen[0] && from < seen[1];
    const svg = draw("svg", {
      width,
      height: 52,
      viewBox: `0 0 ${width} 52`,
      role: "group",
      "aria-label": tr("Level, maintenance and marks along the time"),
    });
    const text = draw("text", { x: left - 6, y: 36, "text-anchor": "end", class: "small" });
    text.textContent = tr("level");
    svg.append(text, draw("rect", { x: left, y: 26, width: inner, height: 14, class: "rb-none" }, tr("not evaluated")));
    for (const r of found.ribbon) {
      if (inside(r.from, r.to)) {
        const x = X(r.from);
        const wide = Math.max(X(r.to) - x, 2);
        const name = found.levels.find((v) => v.number === r.level)?.name ?? String(r.level);
        const state = tr("{level}, sight {sight}", { level: tr(name), sight: tr(r.seen) });
        const said = `${state}: ${tr("{from} to {to}", { from: instant(r.from), to: instant(r.to) })}`;
        svg.append(
          draw("rect", { x, y: 26, width: wide, height: 14, class: `rb-${place(found.levels, r.level)}` }, said),
          draw("rect", { x, y: 42, width: wide, height: 6, class: `seen-${r.seen}` }, said),
        );
      }
    }
    for (const m of found.maintenance) {
      if (inside(m.from, m.to)) {
        svg.append(
          draw(
            "rect",
            { x: X(m.from), y: 21, width: Math.max(X(m.to) - X(m.from), 3), height: 4, class: "upkeep" },
            `${tr("maintenance")} ${m.station}: ${m.reason} (${tr("{from} to {to}", { from: instant(m.from), to: instant(m.to) })})`,
          ),
        );
      }
    }
    const groups = [];
    for (const m of found.marks) {
      if (m.at >= seen[0] && m.at <= seen[1]) {
        const x = X(m.at);
        const last = groups.at(-1);
        if (last && x - last.x < 14) {
          last.members.push(m);
        } else {
          groups.push({ x, members: [m] });
        }
      }
    }
    for (const { x, members } of groups) {
      const first = members.reduce((a, b) =>
        (b.level ?? -1) > (a.level ?? -1) || (b.level === a.level && b.alert && !a.alert) ? b : a,
      );
      const said =
        members
          .slice(0, 6)
          .map((m) => `${tr(m.kind)} ${instant(m.at)}: ${m.text}`)
          .join("\n") + (members.length > 6 ? `\n+ ${members.length - 6}` : "");
      const shape = draw(
        "path",
        {
          d: SHAPES[first.kind],
          class: `mark ${first.kind} ${first.kind === "level" ? `rb-${place(found.levels, first.level)}` : ""}`,
          transform: `translate(${x} 12)`,
        },
        said,
      );
      const count =
        members.length > 1 ? draw("text", { x: x + 8, y: 10, class: "small", "aria-hidden": "true" }) : null;
      if (count) {
        count.textContent = String(members.length);
      }
      if (first.alert) {
        const link = draw("a", { href: `/alerts/${first.alert}`, "aria-label": said });
        link.append(draw("rect", { x: x - 12, y: 0, width: 24, height: 24, fill: "transparent" }), shape);
        svg.append(link);
      } else {
        svg.append(shape);
      }
      if (count) {
        svg.append(count);
      }
    }
    svg.append(draw("path", { d: "M0 0 V52", class: "cursor", visibility: "hidden" }));
    foot.replaceChildren(svg);
  }

  // ---- one cursor through all -------------------------------------------------------------------
  function point(at, source) {
    cursor = at;
    if (at !== null) {
      touched = performance.now();
    }
    const seen = view ?? whole;
    const reach = 0.03 * (seen[1] - seen[0]);
    const line = foot.querySelector(".cursor");
    box.querySelector(".when").textContent = at === null ? "" : instant(at);
    for (const p of panes) {
      if (p !== source && p.plot) {
        const left = at === null ? -10 : p.plot.valToPos(at, "x");
        p.plot.setCursor({ left, top: left < 0 ? -10 : 4 }, false, false);
      }
      let read = at === null ? [] : find(p.spec, at, reach);
      if (found.series && p.id === "main" && read.length > 4 && source?.plot) {
        // of many lines those next to the pointer
        const y = p.plot.posToVal(p.plot.cursor.top, "y");
        read = read.sort((a, b) => Math.abs(a.value - y) - Math.abs(b.value - y)).slice(0, 4);
      }
      p.node.querySelector(".read").replaceChildren(
        ...read.map((r) => {
          const item = document.createElement("span");
          item.textContent =
            p.layers.filter((l) => !l.mute && l.bound === undefined && !l.band).length > 1
              ? `${r.layer.name}: ${r.text}`
              : r.text;
          return item;
        }),
      );
    }
    if (!line) {
      return;
    }
    line.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) {
      line.setAttribute(
        "transform",
        `translate(${52 + ((foot.clientWidth - 60) * (at - seen[0])) / (seen[1] - seen[0])} 0)`,
      );
    }
  }

  function zoom(from, to) {
    const middle = Math.min(Math.max((from + to) / 2, 0), LAST_S);
    const wide = Math.min(Math.max(to - from, LEAST_S), MOST_S);
    [from, to] = view = [middle - wide / 2, middle + wide / 2];
    press(null);
    for (const p of panes) {
      p.plot.setScale("x", { min: from, max: to });
    }
    drawFoot(view);
    point(null);
    clearTimeout(waits);
    waits = setTimeout(() => ask(), 300); // what was thinned for the whole range comes finer
  }
  function reset() {
    view = null;
    press(span);
    ask();
  }
  const scale = (by, at) => {
    const [from, to] = view ?? whole;
    const fixed = at ?? (from + to) / 2;
    zoom(fixed - (fixed - from) * by, fixed + (to - fixed) * by);
  };
  const shift = (by) => {
    const [from, to] = view ?? whole;
    const d = by * (to - from);
    zoom(from + d, to + d);
  };

  // keys: arrows move the cursor, with Shift the picture; + and - zoom, 0 is the whole
  function step(by) {
    const rows = found?.points?.at ?? found?.series?.[0]?.at ?? [];
    const [from, to] = view ?? whole;
    const near = rows.filter((t) => t >= from && t <= to);
    if (!near.length) {
      return;
    }
    const k = cursor === null ? (by > 0 ? -1 : near.length) : near.findLastIndex((t) => t <= cursor + 1e-6);
    point(near[Math.min(Math.max(k + by, 0), near.length - 1)]);
    box.querySelector(".spoken").textContent = [
      box.querySelector(".when").textContent,
      ...panes.map((p) => `${p.title}: ${p.node.querySelector(".read").textContent}`),
    ].join("; ");
  }
  stack.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target !== stack || !found) {
      return;
    }
    const acts = {
      ArrowLeft: () => (e.shiftKey ? shift(-0.25) : step(-1)),
      ArrowRight: () => (e.shiftKey ? shift(0.25) : step(1)),
      "+": () => scale(0.5),
      "=": () => scale(0.5),
      "-": () => scale(2),
      0: reset,
      Home: reset,
      Escape: () => point(null),
    };
    const act = acts[e.key];
    if (act) {
      e.preventDefault();
      act();
    }
  });
  const timeAt = (e) => {
    const p = panes[0].plot;
    const r = p.over.getBoundingClientRect();
    return p.posToVal(e.clientX - r.left, "x");
  };
  stack.addEventListener(
    "wheel",
    (e) => {
      // the page scrolls on: zooming takes Ctrl, a pinch, or a click into the chart before
      if (!found || !(e.ctrlKey || document.activeElement === stack)) {
        return;
      }
      e.preventDefault();
      scale(Math.exp(Math.min(Math.max(e.deltaY, -200), 200) / 300), timeAt(e));
    },
    { passive: false },
  );
  // fingers: one reads, two zoom; up and down scrolls the page
  const fingers = new Map();
  let pinch = null;
  stack.addEventListener("pointerdown", (e) => {
    if (e.pointerType === "touch" && found) {
      fingers.set(e.pointerId, e.clientX);
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()];
        pinch = { wide: Math.max(Math.abs(a - b), 20), view: view ?? whole, middle: timeAt({ clientX: (a + b) / 2 }) };
      }
    }
  });
  stack.addEventListener("pointermove", (e) => {
    if (!fingers.has(e.pointerId) || !found) {
      return;
    }
    fingers.set(e.pointerId, e.clientX);
    if (pinch && fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const by = pinch.wide / Math.max(Math.abs(a - b), 20);
      const [from, to] = pinch.view;
      zoom(pinch.middle - (pinch.middle - from) * by, pinch.middle + (to - pinch.middle) * by);
    } else {
      point(timeAt(e));
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    addEventListener(name, (e) => {
      fingers.delete(e.pointerId);
      if (fingers.size < 2) {
        pinch = null;
      }
    });
  }

  // ---- asking -----------------------------------------------------------------------------------
  const read = (answer) => {
    const f = answer;
    if (f.points) {
      f.points.at = unfold(f.points.at);
    }
    for (const s of f.series ?? []) {
      s.at = unfold(s.at);
    }
    for (const m of f.more ?? []) {
      m.at = unfold(m.at);
    }
    for (const r of f.velocity?.rates ?? []) {
      r.at = unfold(r.at);
    }
    if (f.scores) {
      f.scores.at = unfold(f.scores.at);
    }
    if (f.past) {
      f.past.at = unfold(f.past.at);
    }
    const from = unfold(f.ribbon.from);
    const ends = [...from.slice(1), f.ribbon.to];
    f.ribbon = from
      .map((at, k) => ({ from: at, to: ends[k], level: f.ribbon.level[k], seen: f.ribbon.seen[k] }))
      .filter((r) => r.level !== null); // null: nobody decided
    return f;
  };
  async function ask() {
    const mine = ++turn;
    const all = stations.value === EVERY;
    const quantity = encodeURIComponent(quantities.value);
    leaving?.abort();
    leaving = new AbortController();
    let answer;
    try {
      answer = read(
        await load(
          `/api/v1/sites/${site}/${all ? "compare" : `panes/${encodeURIComponent(stations.value)}`}/${quantity}?${rangeAsked()}`,
          leaving.signal,
        ),
      );
    } catch (error) {
      if (mine === turn) {
        says.textContent = tr("The curve could not be loaded: {reason}", { reason: error.message });
      }
      return;
    }
    if (mine !== turn) {
      return;
    } // somebody chose anew meanwhile
    found = answer;
    if (!view) {
      whole = [found.from, found.series ? found.to : horizon(found)];
    }
    drawAll();
    describe(found);
    box.dataset.drawn = String(mine);
  }

  const press = spans((chosen) => {
    span = chosen;
    view = null;
    ask();
  });
  if (asked.has("station") && [...stations.options].some((o) => o.value === asked.get("station"))) {
    stations.value = asked.get("station");
  }
  fillQuantities(asked.get("quantity"));
  if (isEvent) {
    const wide = readSpan(asked.get("span")) ?? 7 * 86400;
    whole = view = [eventAt - 0.75 * wide, eventAt + 0.25 * wide];
    press(null);
  } else if ([...box.querySelectorAll("[data-span]")].some((b) => b.dataset.span === asked.get("span"))) {
    press((span = asked.get("span")));
  }
  stations.addEventListener("change", () => {
    fillQuantities(quantities.value);
    ask();
  });
  quantities.addEventListener("change", () => ask());
  others.closest("details").addEventListener("toggle", () => {
    if (found) {
      drawAll();
    }
  });
  new ResizeObserver(() => {
    if (found) {
      drawFoot(view ?? whole);
    }
  }).observe(foot);
  whenColoursChange(drawAll);
  // curves change slower than levels: every sixth refresh, while nobody looks closer
  let count = 0;
  document.addEventListener("refreshed", () => {
    count += 1;
    if (count % 6 === 0 && !view && performance.now() - touched > 30_000) {
      ask();
    }
  });
  ask();
})();
