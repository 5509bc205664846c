// Pictures of movement from /api/v1/.../ribbon, /movement and /rain: ribbon, velocity, inverse velocity, window, angle, rain.
"use strict";
(() => {
  const { css, level, show, key, load, axis, dates, layout, options, follow, spans } = Slopeward;
  const site = document.getElementById("main").dataset.site;
  const figures = [...document.querySelectorAll("figure[data-plot]")];
  let span = "30d", cache = new Map();
  const minute = (at) => at.slice(0, 16).replace("T", " ");
  const range = (from, to) => tr("{from} to {to}", { from: minute(from), to: minute(to) });
  const ask = (path) => {
    if (!cache.has(path)) cache.set(path, load(`/api/v1/sites/${site}/${path}`));
    return cache.get(path);
  };
  const time = (found, more) => ({ ...axis(), ...dates, type: "date", range: [found.from, found.to], ...more });
  const stages = { creep: "--lv-0", intermediate: "--lv-1", progressive: "--lv-3", step: "--advice", unknown: "--lv-u" };

  // one row for the level, one for each station's stage; blocks as wide lines, so that hovering tells from when to when
  function ribbon(found) {
    const rows = [tr("level"), ...Object.keys(found.stages)], traces = [], named = new Set();
    const block = (row, from, to, colour, name, text) => {
      traces.push({ type: "scatter", mode: "lines", x: [from, to], y: [row, row], name, line: { color: colour, width: 14 }, showlegend: !named.has(name), hovertemplate: `${text}<br>${range(from, to)}<extra></extra>` });
      named.add(name);
    };
    for (const s of found.ribbon) {
      const name = found.levels.find((v) => v.number === s.level)?.name ?? String(s.level);
      block(tr("level"), s.from_at, s.to_at, level(found.levels, s.level), tr(name), tr("{level}, sight {sight}", { level: tr(name), sight: tr(s.observability) }));
    }
    for (const [station, segments] of Object.entries(found.stages)) for (const s of segments) block(station, s.from_at, s.to_at, css(stages[s.stage] ?? "--lv-u"), tr(s.stage), `${station}: ${tr("{stage}, trend {trend}", { stage: tr(s.stage), trend: tr(s.trend) })}`);
    return {
      traces, says: found.ribbon.length ? "" : tr("Not evaluated in this range."), latest: "",
      frame: { xaxis: time(found), yaxis: { ...axis(), type: "category", categoryorder: "array", categoryarray: [...rows].reverse() } },
    };
  }

  const hours = (s) => s < 172800 ? `${Number((s / 3600).toPrecision(3))} h` : `${Number((s / 86400).toPrecision(3))} d`;
  const within = (text, s) => s ? tr("{value} in {span}", { value: text, span: hours(s) }) : text;
  const bound = (found, kind, unit) => found.bounds.filter((b) => b.kind === kind).map((b) => ({
    type: "scatter", mode: "lines", x: [found.from, found.to], y: [b.value, b.value], line: { color: level(found.levels, b.level), width: 2, dash: "dash" },
    name: within(`${tr(String(found.levels.find((v) => v.number === b.level)?.name ?? b.level))} ${tr("over")} ${show(b.value)} ${unit}`, b.window_s), hoverinfo: "name",
  }));
  const line = (rows, column, name, unit, colour) => ({
    type: "scatter", mode: rows.length < 200 ? "lines+markers" : "lines", x: rows.map((r) => r.data_until ?? r.at), y: rows.map((r) => r[column]), connectgaps: false, name,
    line: { color: colour, width: 1.8 }, marker: { size: 4, color: colour }, hovertemplate: `%{y:.4~g} ${unit}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>`,
  });
  const told = (row) => row ? `${tr("{stage}, trend {trend}", { stage: tr(row.stage), trend: tr(row.trend) })}: ${row.reasons}` : tr("Nothing was judged so far.");
  // every figure beside a picture is of this one row: the newest update, also where the range holds none
  const newest = (found) => found.newest[0];
  const own = (found) => newest(found) ? found.movement.filter((r) => r.quantity === newest(found).quantity) : [];
  const ofStage = (value, unit) => typeof value === "number" ? tr("{value} (stage)", { value: `${show(value)} ${unit}` }) : "";
  const ofBounds = (found, column, unit) => found.rates.filter((r) => typeof r[column].at(-1) === "number").map((r) => within(`${show(r[column].at(-1))} ${unit}`, r.window_s));

  function velocity(found) {
    const rows = own(found).filter((r) => r.velocity_mm_per_day !== null), last = newest(found);
    const band = { type: "scatter", mode: "lines", fill: "toself", line: { width: 0 }, fillcolor: css("--fan").replace("A", "0.22"), name: tr("± 1 standard error"), hoverinfo: "skip",
      x: [...rows.map((r) => r.data_until ?? r.at), ...rows.map((r) => r.data_until ?? r.at).reverse()],
      y: [...rows.map((r) => r.velocity_mm_per_day + (r.velocity_error_mm_per_day ?? 0)), ...rows.map((r) => r.velocity_mm_per_day - (r.velocity_error_mm_per_day ?? 0)).reverse()] };
    // each bound in the colour of its level, and the velocity over its own window in the same colour
    const bounded = found.rates.map((r) => {
      const b = found.bounds.find((x) => x.kind === "velocity" && x.window_s === r.window_s);
      return { type: "scatter", mode: r.at.length < 40 ? "lines+markers" : "lines", x: r.at, y: r.rate, name: tr("velocity in {span}", { span: hours(r.window_s) }), line: { color: level(found.levels, b?.level ?? 0), width: 1.6 }, marker: { size: 4 },
        hovertemplate: `${within("%{y:.4~g} mm/day", r.window_s)}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>` };
    });
    const latest = [...ofBounds(found, "rate", "mm/day"), ofStage(last?.velocity_mm_per_day, "mm/day")].filter(Boolean).join(" · ");
    return { traces: [band, ...bound(found, "velocity", "mm/day"), ...bounded, line(rows, "velocity_mm_per_day", tr("velocity of the stage"), "mm/day", css("--curve"))], says: told(last),
      latest, frame: { xaxis: time(found), yaxis: { ...axis(), title: { text: "mm/day", font: { size: 11 } } } } };
  }

  function inverse(found) {
    const rows = own(found).filter((r) => r.inverse_velocity_day_per_mm !== null), last = newest(found), window = last?.window;
    const bounded = found.rates.map((r) => ({ type: "scatter", mode: r.at.length < 40 ? "lines+markers" : "lines", x: r.at, y: r.inverse, connectgaps: false, name: `1 / ${tr("velocity in {span}", { span: hours(r.window_s) })}`,
      line: { color: level(found.levels, found.bounds.find((x) => x.kind === "velocity" && x.window_s === r.window_s)?.level ?? 0), width: 1.2 }, marker: { size: 4 }, hovertemplate: `${within("%{y:.4~g} day/mm", r.window_s)}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>` }));
    const traces = [...bounded, line(rows, "inverse_velocity_day_per_mm", `1 / ${tr("velocity of the stage")}`, "day/mm", css("--curve"))];
    if (window && typeof last.inverse_velocity_day_per_mm === "number") traces.push({ type: "scatter", mode: "lines+markers", name: tr("to the middle of the window"), x: [last.data_until ?? last.at, window.window_mid], y: [last.inverse_velocity_day_per_mm, 0],
      line: { color: css("--forecast"), width: 2, dash: "dash" }, marker: { size: 6, color: css("--forecast") }, hovertemplate: `%{x|%Y-%m-%d %H:%M}<extra>${tr("if the acceleration goes on")}</extra>` });
    const end = window ? [found.to, window.window_to].sort().at(-1) : found.to;
    return { traces, says: typeof last?.inverse_velocity_day_per_mm === "number" ? tr("Where the slope moves beyond its noise. A straight fall to zero is what the method asks for.") : tr("At the newest update the slope does not move beyond its noise."),
      latest: [...ofBounds(found, "inverse", "day/mm"), ofStage(last?.inverse_velocity_day_per_mm, "day/mm")].filter(Boolean).join(" · "), frame: { xaxis: time(found, { range: [found.from, end] }), yaxis: { ...axis(), rangemode: "tozero", title: { text: "day/mm", font: { size: 11 } } } } };
  }

  // each issue as a bar from the start to the end of its window; the line is "now": a window below it has passed
  function drift(found) {
    const rows = found.windows, by = (method, trusted) => rows.filter((r) => r.method === method && r.trusted === trusted);
    const bars = (part, name, colour, opacity) => part.length ? [{
      type: "scatter", mode: "markers", name, x: part.map((r) => r.data_until), y: part.map((r) => r.window_mid), opacity, marker: { size: 5, color: colour, symbol: part.map((r) => r.withdrawn_at ? "x-thin" : "circle"), line: { width: part.map((r) => r.withdrawn_at ? 2 : 0), color: colour } },
      text: part.map((r) => `${range(r.window_from, r.window_to)}${r.reasons ? "<br>" + r.reasons : ""}${r.withdrawn_at ? `<br>${tr("withdrawn: {reason}", { reason: r.withdrawn_reason ?? "" })}` : ""}`), hovertemplate: "%{text}<extra></extra>",
    }, {
      type: "scatter", mode: "lines", showlegend: false, hoverinfo: "skip", opacity: 0.45 * opacity, line: { color: colour, width: 3 },
      x: part.flatMap((r) => [r.data_until, r.data_until, null]), y: part.flatMap((r) => [r.window_from, r.window_to, null]),
    }] : [];
    const traces = [{ type: "scatter", mode: "lines", name: tr("the newest datum of each issue"), x: [found.from, found.to], y: [found.from, found.to], line: { color: css("--muted"), width: 1.2, dash: "dot" }, hoverinfo: "skip" },
      ...bars(by("inverse_velocity", true), tr("inverse velocity"), css("--forecast"), 1), ...bars(by("inverse_velocity", false), tr("inverse velocity, not trusted"), css("--muted"), 0.7),
      ...bars(by("forecast", true), tr("forecast"), css("--advice"), 1), ...bars(by("forecast", false), tr("forecast, not trusted"), css("--advice"), 0.5)];
    const last = rows.at(-1), window = newest(found)?.window, over = window && window.window_to <= found.to;
    return { traces: rows.length ? traces : [], latest: window ? range(window.window_from, window.window_to) : tr("none"),
      says: window ? over ? tr("The window ended {at}.", { at: minute(window.window_to) }) : window.trusted ? tr("Trusted: every condition of the method holds.") : tr("Not trusted: {reason}.", { reason: window.reasons }) : !rows.length ? tr("No window was ever issued in this range.") : last.withdrawn_at ? tr("Withdrawn {at}: {reason}.", { at: minute(last.withdrawn_at), reason: last.withdrawn_reason ?? "" }) : tr("No window stands."),
      frame: { xaxis: time(found), yaxis: { ...axis(), ...dates, type: "date" } } };
  }

  function angle(found) {
    const rows = own(found).filter((r) => r.tangential_angle_deg !== null), last = newest(found), known = typeof last?.tangential_angle_deg === "number";
    return { traces: [...bound(found, "tangential_angle", tr("degrees")), line(rows, "tangential_angle_deg", tr("tangential angle"), tr("degrees"), css("--curve"))], latest: known ? `${show(last.tangential_angle_deg)}°` : "",
      says: known ? tr("Against v_eq = {value}, as reviewed for this station.", { value: `${show(last.v_eq_mm_per_day)} mm/day` }) : tr("No angle: the station has no reviewed v_eq, or does not move beyond its noise."),
      frame: { xaxis: time(found), yaxis: { ...axis(), range: [0, 92], title: { text: tr("degrees"), font: { size: 11 } } } } };
  }

  function rain(found) {
    const traces = [];
    for (const c of found.curves) {
      const whose = found.curves.length > 1 ? ` (${c.station})` : "", at = (rows) => rows.filter((r) => r.intensity_mm_per_h > 0);
      const drawn = (rows, more) => ({ type: "scatter", x: rows.map((r) => r.duration_h), y: rows.map((r) => r.intensity_mm_per_h), text: rows.map((r) => r.sum_mm === undefined ? "" : `${show(r.sum_mm)} mm`), hovertemplate: `${tr("{intensity} over {span}", { intensity: "%{y:.3~g} mm/h", span: "%{x:.3~g} h" })} %{text}<extra></extra>`, ...more });
      traces.push(drawn(c.curve, { mode: "lines", name: `${c.criterion}${whose}`, line: { color: level(found.levels, c.level), width: 2.5 } }));
      traces.push(drawn(at(c.most), { mode: "lines", name: `${tr("most in this range")}${whose}`, line: { color: css("--rain"), width: 1.5, dash: "dot" } }));
      traces.push(drawn(at(c.now), { mode: "markers", name: `${tr("now")}${whose}`, marker: { color: css("--rain"), size: 7 } }));
    }
    const says = found.curves.map((c) => c.ratio === null ? `${c.station}: ${tr("no rain was measured.")}` : `${c.station}: ${c.newest_at ? tr("{ratio} of the bound at {at}, coverage {coverage}.", { ratio: show(c.ratio), at: minute(c.newest_at), coverage: show(c.coverage) }) : tr("{ratio} of the bound, coverage {coverage}.", { ratio: show(c.ratio), coverage: show(c.coverage) })}`).join(" ");
    const log = (title) => ({ ...axis(), type: "log", dtick: "D2", title: { text: title, font: { size: 11 } } });
    return { traces, says, latest: "", frame: { xaxis: log(tr("duration, h")), yaxis: log("mm/h"), margin: { l: 48, r: 10, t: 12, b: 40 } } };
  }

  // the whole record, whatever the range of the other pictures: a season is seen over years
  function season(found) {
    const whole = found.series.filter((r) => !r.reason).sort((a, b) => b.season_range - a.season_range);
    const split = whole.find((r) => r.quantity.startsWith("displacement")) ?? whole[0];
    const first = found.series.find((r) => r.quantity.startsWith("displacement")) ?? found.series[0];
    if (!split) return { traces: [], latest: "", says: first ? tr("No season: {reason}.", { reason: first.reason }) : tr("Not split so far: it is done by night."), frame: { xaxis: { ...axis(), ...dates, type: "date" }, yaxis: axis() } };
    const { at, value, trend, season, remainder } = split.components;
    const part = (y, name, colour, more) => ({ type: "scatter", mode: "lines", x: at, y, name, connectgaps: false, line: { color: colour, width: 1.6 }, hovertemplate: `%{y:.4~g} ${split.unit}<br>%{x|%Y-%m-%d}<extra></extra>`, ...more });
    const floor = { yaxis: "y2" };
    return {
      traces: [part(value, tr("observed"), css("--muted"), { opacity: 0.6 }), part(trend, tr("trend"), css("--curve")),
        part(season, tr("season"), css("--forecast"), floor), part(remainder, tr("remainder"), css("--advice"), { ...floor, opacity: 0.7 })],
      latest: tr("season of {value} in a year", { value: `${show(split.season_range)} ${split.unit}` }),
      says: tr("{quantity}: strength of the season {season}, of the trend {trend}; 1 = nothing else. Found by {method} over the whole record: it knows what came later and feeds no forecast.", { quantity: tr(split.quantity.replaceAll("_", " ")), season: show(split.season_strength), trend: show(split.trend_strength), method: split.method })
        + (split.day_range === null ? "" : ` ${tr("Within a day it moves by {value}, as in the last two months; strength of that season {strength}.", { value: `${show(split.day_range)} ${split.unit}`, strength: show(split.day_strength) })}`),
      frame: { xaxis: { ...axis(), ...dates, type: "date", anchor: "y2" }, yaxis: { ...axis(), domain: [0.48, 1], title: { text: split.unit, font: { size: 11 } } }, yaxis2: { ...axis(), domain: [0, 0.42], title: { text: split.unit, font: { size: 11 } } } },
    };
  }

  const pictures = {
    season: [(f) => `season/${f.dataset.station}`, season],
    rain: [() => `rain?span=${span}`, rain],
    ribbon: [() => `ribbon?span=${span}`, ribbon], velocity: [(f) => `movement/${f.dataset.station}?span=${span}`, velocity], inverse: [(f) => `movement/${f.dataset.station}?span=${span}`, inverse],
    window: [(f) => `movement/${f.dataset.station}?span=${span}`, drift], angle: [(f) => `movement/${f.dataset.station}?span=${span}`, angle],
  };

  async function draw(figure) {
    const plot = figure.querySelector(".plot"), [path, picture] = pictures[figure.dataset.plot], turn = figure.turn = (figure.turn ?? 0) + 1;
    let found;
    try { found = await ask(path(figure)); } catch (error) {
      cache.delete(path(figure));
      figure.querySelector(".says").textContent = tr("The figures could not be loaded: {reason}", { reason: error.message });
      return;
    }
    if (turn !== figure.turn) return; // somebody chose anew meanwhile
    const { traces, frame, says, latest } = picture(found);
    await Plotly.react(plot, traces, layout(plot, frame), options);
    figure.querySelector(".key").replaceWith(key(traces));
    figure.querySelector(".says").textContent = says || "\u00a0";
    const said = figure.querySelector(".latest");
    if (said) said.textContent = latest;
    plot.setAttribute("aria-label", `${plot.dataset.name ??= plot.getAttribute("aria-label")}: ${latest} ${says}`);
    figure.drawn = true;
  }

  const again = follow(figures, draw);
  spans((chosen) => { span = chosen; again(); });
  setInterval(() => { cache = new Map(); again(); }, 60000);
})();
