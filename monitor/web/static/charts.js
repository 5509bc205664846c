// Draws curves from /api/v1/.../chart: observed, forecast with its fan, thresholds, flags, marks, anomaly scores, rain.
"use strict";
(() => {
  const main = document.getElementById("main");
  const site = main.dataset.site;
  const figures = [...document.querySelectorAll("figure.chart")];
  let span = "30d";

  const { css, level, show, key, load, axis, dates, layout, options, follow, spans } = Slopeward;
  const words = (text) => text.replaceAll("_", " ");
  const days = (s) => `${Number((s / 86400).toPrecision(3))} d`;

  // how far ahead the picture goes: never more than half of what lies behind
  const horizon = (chart) => {
    const to = Date.parse(chart.to);
    return Math.min(Date.parse(chart.until), to + 0.5 * (to - Date.parse(chart.from)));
  };

  // what the axis must hold: sound values, the middle of the forecast, and horizontal bounds that are not out of all proportion
  function extent(chart) {
    const { value, flags } = chart.points;
    let held = value.filter((_, k) => !flags[k]);
    if (!held.length) held = value.length ? value : [0];
    const t = chart.forecast?.targets;
    const near = t ? t.target_at.map((at, k) => [Date.parse(at), k]).filter(([at]) => at <= horizon(chart)).map(([, k]) => k) : [];
    if (t) held = held.concat(near.map((k) => t.q50[k]));
    let low = Math.min(...held), high = Math.max(...held);
    // the fan is seen as far as it leaves the curve readable
    if (near.length) {
      const more = 0.6 * (high - low);
      low = Math.max(Math.min(low, ...near.map((k) => t.q10[k])), low - more);
      high = Math.min(Math.max(high, ...near.map((k) => t.q90[k])), high + more);
    }
    const least = 6 * chart.noise_floor; // noise must look like noise
    if (high - low < least) { const middle = (high + low) / 2; low = middle - least / 2; high = middle + least / 2; }
    const reach = 2.5 * Math.max(high - low, Math.abs(high) * 0.05, 1e-9);
    for (const b of chart.thresholds) if (b.line !== undefined && b.line < high + reach && b.line > low - reach) { low = Math.min(low, b.line); high = Math.max(high, b.line); }
    const room = 0.06 * Math.max(high - low, 1e-9);
    return [chart.quantity === "rain" ? 0 : low - room, high + room];
  }

  function observed(chart, ink) {
    const { at, value, flags, sigma } = chart.points;
    const hover = `%{y:.4~g} ${chart.unit}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>`;
    if (chart.quantity === "rain") return [{ type: "bar", x: at, y: value, marker: { color: css("--rain") }, name: tr("rain"), hovertemplate: hover }];
    const sound = value.map((v, k) => flags[k] ? null : v); // a flagged value is told beside the curve, not by it
    const traces = [{
      type: "scatter", mode: at.length < 400 ? "lines+markers" : "lines", x: at, y: sound, connectgaps: false, name: tr("observed"), hovertemplate: hover,
      line: { color: ink, width: 1.8 }, marker: { color: ink, size: 3.5 }, text: sigma,
    }];
    const odd = flags.map((f, k) => f ? k : -1).filter((k) => k >= 0);
    const [low, high] = extent(chart), clip = (v) => Math.min(Math.max(v, low), high);
    const symbol = (v) => v > high ? "triangle-up" : v < low ? "triangle-down" : "x-thin";
    if (odd.length) traces.push({
      type: "scatter", mode: "markers", x: odd.map((k) => at[k]), y: odd.map((k) => clip(value[k])), name: tr("flagged"), cliponaxis: false,
      text: odd.map((k) => `${flags[k].split(",").map((f) => tr(f)).join(", ")}: ${show(value[k])} ${chart.unit}${clip(value[k]) === value[k] ? "" : ` ${tr("(outside the picture)")}`}`),
      marker: { symbol: odd.map((k) => symbol(value[k])), size: 10, color: css("--flag"), line: { width: 2, color: css("--flag") } }, hovertemplate: "%{text}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>",
    });
    return traces;
  }

  function fan(chart) {
    const f = chart.forecast;
    if (!f) return [];
    const t = f.targets, fill = css("--fan");
    const band = (low, high, opacity, name) => ({
      type: "scatter", mode: "lines", fill: "toself", line: { width: 0 }, fillcolor: fill.replace("A", opacity), name, hoverinfo: "skip",
      x: [f.data_until, ...t.target_at, ...[...t.target_at].reverse(), f.data_until], y: [f.data_value, ...t[high], ...[...t[low]].reverse(), f.data_value],
    });
    const hatch = { fillpattern: { shape: "/", size: 7, solidity: 0.35, fgcolor: css("--forecast"), fillmode: "overlay" } };
    return [
      band("q025", "q975", "0.16", "95 %"), f.replaces ? { ...band("q10", "q90", "0.26", tr("80 %, outside experience")), ...hatch } : band("q10", "q90", "0.26", "80 %"),
      { type: "scatter", mode: "lines+markers", x: [f.data_until, ...t.target_at], y: [f.data_value, ...t.q50], name: tr("forecast ({model})", { model: f.model }),
        line: { color: css("--forecast"), width: 2, dash: "dash" }, marker: { size: 5, color: css("--forecast") },
        customdata: [[f.data_value, f.data_value], ...t.q10.map((low, k) => [low, t.q90[k]])],
        hovertemplate: `%{y:.4~g} ${chart.unit}, 80 % ${tr("{from} to {to}", { from: "%{customdata[0]:.4~g}", to: "%{customdata[1]:.4~g}" })}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>` },
    ];
  }

  function past(chart) {
    const rows = chart.past.rows;
    if (rows.length < 2) return [];
    return [{ type: "scatter", mode: "lines", x: rows.map((r) => r.target_at), y: rows.map((r) => r.q50), name: tr("as forecast {span} before", { span: days(chart.past.horizon_s) }),
      line: { color: css("--forecast"), width: 1.2, dash: "dot" }, hovertemplate: `${tr("{value} was expected", { value: `%{y:.4~g} ${chart.unit}` })}<extra></extra>` }];
  }

  function bounds(chart) {
    const unit = chart.unit === "1" ? "" : ` ${chart.unit}`, of = (t) => `${tr(t.side)} ${show(t.value)}${unit}${t.ray ? (unit ? "/day" : ` ${tr("per day")}`) : ""}`;
    return chart.thresholds.map((t) => ({
      type: "scatter", mode: "lines", x: t.line !== undefined ? [chart.from, chart.until] : t.ray.at, y: t.line !== undefined ? [t.line, t.line] : t.ray.value,
      line: { color: level(chart.levels, t.level), width: 2, dash: t.line !== undefined ? "solid" : "longdashdot" }, opacity: 0.9,
      name: `${tr(t.name)} ${of(t)}`, hovertemplate: `${tr(t.name)}: ${of(t)}<extra></extra>`,
    }));
  }

  function marks(chart) {
    const colours = { level: null, verification: css("--flag"), event: css("--muted"), report: css("--advice") };
    const symbols = { level: "triangle-down", verification: "diamond", event: "square", report: "circle" };
    const shapes = chart.marks.map((m) => ({
      type: "line", xref: "x", yref: "paper", x0: m.at, x1: m.at, y0: 0, y1: 1, layer: "below",
      line: { width: 1, dash: "dot", color: m.kind === "level" ? level(chart.levels, m.level) : colours[m.kind] },
    }));
    if (!chart.marks.length) return { shapes, traces: [] };
    return { shapes, traces: [{
      type: "scatter", mode: "markers", x: chart.marks.map((m) => m.at), y: chart.marks.map(() => 1), yaxis: "y3", showlegend: false, cliponaxis: false,
      marker: { size: 9, symbol: chart.marks.map((m) => symbols[m.kind]), color: chart.marks.map((m) => m.kind === "level" ? level(chart.levels, m.level) : colours[m.kind]) },
      text: chart.marks.map((m) => `${tr(m.kind)}: ${m.text}`), hovertemplate: "%{text}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>",
    }] };
  }

  function scores(chart) {
    const found = Object.groupBy ? Object.groupBy(chart.scores, (s) => s.detector) : { anomaly: chart.scores };
    const dashes = ["solid", "dot", "dash"];
    return Object.entries(found).map(([detector, rows], k) => ({
      type: "scatter", mode: "lines+markers", yaxis: "y2", x: rows.map((r) => r.at), y: rows.map((r) => r.score / r.threshold), name: detector, showlegend: false,
      line: { color: css("--advice"), width: 1.2, dash: dashes[k % 3] }, marker: { size: rows.map((r) => r.alerted ? 7 : 2.5), color: css("--advice"), line: { width: 0 } },
      hovertemplate: `${detector}: ${tr("{value} of its threshold", { value: "%{y:.2f}" })}<extra></extra>`,
    }));
  }

  function says(chart) {
    const parts = [];
    if (chart.forecast) parts.push(tr("Forecast by {model}, issued {at}: {reason}.", { model: chart.forecast.model, at: chart.forecast.issued_at.slice(0, 16).replace("T", " "), reason: chart.forecast.reason }));
    if (chart.forecast && chart.withheld?.model === "kinematic") parts.push(tr("Further ahead no forecast: {reason}.", { reason: chart.withheld.reason }));
    else if (!chart.forecast && chart.withheld) parts.push(tr("No forecast: {reason}.", { reason: chart.withheld.reason }));
    if (chart.others.length) parts.push(tr("Not shown: {models}.", { models: chart.others.map((o) => `${o.model} (${o.reason})`).join("; ") }));
    if (chart.computed) parts.push(tr("Computed from east, north and up along the station's azimuth and plunge."));
    return parts.join(" ");
  }

  async function draw(figure) {
    const station = figure.dataset.station, quantity = figure.querySelector("select")?.value ?? figure.dataset.quantity;
    const plot = figure.querySelector(".plot");
    const turn = figure.turn = (figure.turn ?? 0) + 1;
    let chart;
    try {
      chart = await load(`/api/v1/sites/${site}/chart/${encodeURIComponent(station)}/${encodeURIComponent(quantity)}?span=${span}`);
    } catch (error) {
      figure.querySelector(".says").textContent = tr("The curve could not be loaded: {reason}", { reason: error.message });
      return;
    }
    if (turn !== figure.turn) return; // somebody chose anew meanwhile
    const withScores = chart.scores.length > 0, lines = axis();
    const { shapes, traces } = marks(chart);
    const frame = layout(plot, {
      bargap: 0.05,
      xaxis: { ...lines, ...dates, type: "date", range: [chart.from, new Date(horizon(chart)).toISOString()], anchor: withScores ? "y2" : "y" },
      yaxis: { ...lines, domain: [withScores ? 0.27 : 0, 1], title: { text: chart.unit, font: { size: 11 } }, range: extent(chart) },
      yaxis3: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
      shapes,
    });
    if (withScores) {
      frame.yaxis2 = { ...lines, domain: [0, 0.2], rangemode: "tozero", nticks: 3, title: { text: tr("score"), font: { size: 10 } } };
      shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y2", y0: 1, y1: 1, line: { color: css("--flag"), width: 1, dash: "dash" } });
    }
    const data = [...fan(chart), ...bounds(chart), ...past(chart), ...observed(chart, css("--curve")), ...traces, ...scores(chart)];
    await Plotly.react(plot, data, frame, options);
    figure.querySelector(".key").replaceWith(key([...observed(chart, css("--curve")), ...fan(chart).reverse(), ...bounds(chart), ...past(chart)]));
    const last = chart.points.value.at(-1);
    figure.querySelector(".latest").textContent = last === undefined ? tr("no reading in this range") : `${show(last)} ${chart.unit === "1" ? "" : chart.unit}`;
    figure.querySelector(".says").textContent = says(chart) || "\u00a0";
    plot.setAttribute("aria-label", `${tr("{quantity} of {station}: {count} readings, newest {value}.", { quantity: tr(words(quantity)), station, count: chart.total, value: `${show(last)} ${chart.unit}` })} ${says(chart)}`);
    figure.drawn = true;
  }

  const again = follow(figures, draw);
  for (const figure of figures) figure.querySelector("select")?.addEventListener("change", () => draw(figure));
  spans((chosen) => { span = chosen; again(); });
  // curves change slower than levels: every sixth refresh
  let count = 0;
  document.addEventListener("refreshed", () => { count += 1; if (count % 6 === 0) for (const f of figures) if (f.near && f.drawn) draw(f); else f.drawn = f.near && f.drawn; });
})();
