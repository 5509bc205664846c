// Pictures of movement from /api/v1/.../ribbon, /movement and /rain: ribbon, velocity, inverse
// velocity, window, angle, rain.
"use strict";
(() => {
  const { bindSpanButtons, colourOfLevel, drawPlot, fetchJson, findValuesAt, formatInstant } = Slopeward;
  const { formatMinute, formatNumber, makeLegend, onColourChange, readColour, toSeconds } = Slopeward;
  const site = document.getElementById("main").dataset.site;
  const SHORTEST_RIBBON_S = 600;
  const figures = [...document.querySelectorAll("figure[data-plot]")];
  let span = "30d";
  let cache = new Map();
  const range = (from, to) => tr("{from} to {to}", { from: formatInstant(from), to: formatInstant(to) });
  const ask = (path) => {
    if (!cache.has(path)) {
      cache.set(path, fetchJson(`/api/v1/sites/${site}/${path}`));
    }
    return cache.get(path);
  };
  const ends = (found) => ({ from: toSeconds(found.from), to: toSeconds(found.to) });
  const stages = {
    creep: "--lv-0",
    intermediate: "--lv-1",
    progressive: "--lv-3",
    step: "--advice",
    unknown: "--lv-u",
  };

  // one row for the level, one for each station's stage
  function ribbon(found) {
    const rows = [tr("level"), ...Object.keys(found.stages)];
    const layers = new Map();
    const block = (row, s, colour, name, text) => {
      if (!layers.has(name)) {
        layers.set(name, { blocks: [], colour, name });
      }
      const from = toSeconds(s.from_at);
      const to = toSeconds(s.to_at);
      layers.get(name).blocks.push({
        row: rows.length - 1 - rows.indexOf(row),
        from,
        to,
        colour,
        text: `${row}: ${text}, ${range(from, to)}`,
      });
    };
    for (const s of found.ribbon) {
      const name = tr(found.levels.find((v) => v.number === s.level)?.name ?? String(s.level));
      block(
        tr("level"),
        s,
        colourOfLevel(found.levels, s.level),
        name,
        tr("{level}, sight {sight}", { level: name, sight: tr(s.observability) }),
      );
    }
    for (const [station, segments] of Object.entries(found.stages)) {
      for (const s of segments) {
        block(
          station,
          s,
          readColour(stages[s.stage] ?? "--lv-u"),
          tr(s.stage),
          tr("{stage}, trend {trend}", { stage: tr(s.stage), trend: tr(s.trend) }),
        );
      }
    }
    const starts = [...layers.values()].flatMap((layer) => layer.blocks.map((b) => b.from));
    const x = ends(found);
    // A record that is shorter than the range takes the whole width.
    x.from = Math.max(x.from, Math.min(x.to - SHORTEST_RIBBON_S, ...starts));
    return {
      says: found.ribbon.length ? "" : tr("No level was judged in this time."),
      latest: "",
      rows: rows.length,
      spec: {
        x,
        y: { rows: [...rows].reverse(), range: [-0.6, rows.length - 0.4] },
        layers: [...layers.values()],
      },
    };
  }

  const hours = (s) =>
    s < 172800 ? `${Number((s / 3600).toPrecision(3))} h` : `${Number((s / 86400).toPrecision(3))} d`;
  const within = (text, s) => (s ? tr("{value} in {span}", { value: text, span: hours(s) }) : text);
  const bound = (found, kind, unit) =>
    found.bounds
      .filter((b) => b.kind === kind)
      .map((b) => {
        const name = tr(String(found.levels.find((v) => v.number === b.level)?.name ?? b.level));
        return {
          bound: b.value,
          colour: colourOfLevel(found.levels, b.level),
          width: 2,
          dash: "dash",
          label: `${name} ${formatNumber(b.value)}`,
          name: within(`${name} ${tr("over")} ${formatNumber(b.value)} ${unit}`, b.window_s),
        };
      });
  const stamps = (rows) => rows.map((r) => toSeconds(r.data_until ?? r.at));
  const line = (rows, column, name, unit, colour) => ({
    line: [stamps(rows), rows.map((r) => r[column])],
    dots: rows.length < 200 ? 2 : 0,
    colour,
    name,
    unit,
  });
  const told = (row) =>
    row
      ? row.stage === "unknown"
        ? tr("Not known: {reason}.", { reason: row.reasons })
        : `${tr("{stage}, trend {trend}", { stage: tr(row.stage), trend: tr(row.trend) })}: ${row.reasons}`
      : tr("Nothing was judged so far.");
  // every figure beside a picture is of this one row: the newest update, also where the range holds none
  const newest = (found) => found.newest[0];
  const own = (found) => (newest(found) ? found.movement.filter((r) => r.quantity === newest(found).quantity) : []);
  const ofStage = (value, unit) =>
    typeof value === "number" ? tr("{value} (stage)", { value: `${formatNumber(value)} ${unit}` }) : "";
  const ofBounds = (found, column, unit) =>
    found.rates
      .filter((r) => typeof r[column].at(-1) === "number")
      .map((r) => within(`${formatNumber(r[column].at(-1))} ${unit}`, r.window_s));
  // the velocity over the window of each bound, in the colour of its level
  const bounded = (found, column, unit, name, width) =>
    found.rates.map((r) => ({
      line: [r.at.map(toSeconds), r[column]],
      dots: r.at.length < 40 ? 2 : 0,
      width,
      unit,
      name: name(hours(r.window_s)),
      colour: colourOfLevel(
        found.levels,
        found.bounds.find((b) => b.kind === "velocity" && b.window_s === r.window_s)?.level ?? 0,
      ),
    }));

  function velocity(found) {
    const rows = own(found).filter((r) => r.velocity_mm_per_day !== null);
    const last = newest(found);
    const unit = "mm/day";
    const edge = (sign) => rows.map((r) => r.velocity_mm_per_day + sign * (r.velocity_error_mm_per_day ?? 0));
    const band = rows.length
      ? [
          {
            band: [stamps(rows), edge(-1), edge(1)],
            colour: readColour("--forecast"),
            alpha: 0.22,
            name: tr("± 1 standard error"),
          },
        ]
      : [];
    return {
      says: told(last),
      latest: [...ofBounds(found, "rate", unit), ofStage(last?.velocity_mm_per_day, unit)].filter(Boolean).join(" · "),
      spec: {
        x: ends(found),
        y: { unit },
        layers: [
          ...band,
          ...bound(found, "velocity", unit),
          ...bounded(found, "rate", unit, (of) => tr("velocity in {span}", { span: of }), 1.6),
          line(rows, "velocity_mm_per_day", tr("velocity of the stage"), unit, readColour("--curve")),
        ],
      },
    };
  }

  function inverse(found) {
    const rows = own(found).filter((r) => r.inverse_velocity_day_per_mm !== null);
    const last = newest(found);
    const window = last?.window;
    const unit = "day/mm";
    const layers = [
      ...bounded(found, "inverse", unit, (of) => `1 / ${tr("velocity in {span}", { span: of })}`, 1.2),
      line(rows, "inverse_velocity_day_per_mm", `1 / ${tr("velocity of the stage")}`, unit, readColour("--curve")),
    ];
    const x = ends(found);
    if (window) {
      x.to = Math.max(x.to, toSeconds(window.window_to));
    }
    if (window && typeof last.inverse_velocity_day_per_mm === "number") {
      layers.push({
        line: [
          [toSeconds(last.data_until ?? last.at), toSeconds(window.window_mid)],
          [last.inverse_velocity_day_per_mm, 0],
        ],
        colour: readColour("--forecast"),
        width: 2,
        dash: "dash",
        dots: 3,
        name: tr("to the middle of the window"),
        text: () => tr("if the acceleration goes on"),
      });
    }
    return {
      says:
        typeof last?.inverse_velocity_day_per_mm === "number"
          ? tr("Where the slope moves beyond its noise. A straight fall to zero is what the method asks for.")
          : last?.stage === "unknown"
            ? told(last)
            : tr("At the newest update the slope does not move beyond its noise."),
      latest: [...ofBounds(found, "inverse", unit), ofStage(last?.inverse_velocity_day_per_mm, unit)]
        .filter(Boolean)
        .join(" · "),
      spec: { x, y: { unit, zero: true }, layers },
    };
  }

  // each issue as a bar from the start to the end of its window; the line is "now": a window below it has passed
  function drift(found) {
    const rows = found.windows;
    const by = (method, trusted) => rows.filter((r) => r.method === method && r.trusted === trusted);
    const x = ends(found);
    const bars = (part, name, colour, alpha) =>
      part.length
        ? [
            {
              line: [
                part.flatMap((r) => Array(3).fill(toSeconds(r.data_until))),
                part.flatMap((r) => [toSeconds(r.window_from), toSeconds(r.window_to), null]),
              ],
              colour,
              width: 3,
              alpha: 0.45 * alpha,
              mute: true,
            },
            {
              points: [part.map((r) => toSeconds(r.data_until)), part.map((r) => toSeconds(r.window_mid))],
              shape: part.map((r) => (r.withdrawn_at ? "cross" : "round")),
              size: 3.5,
              colour,
              alpha,
              name,
              text: (k) => {
                const row = part[k];
                const sentences = [range(toSeconds(row.window_from), toSeconds(row.window_to))];
                if (row.reasons) {
                  sentences.push(row.reasons);
                }
                if (row.withdrawn_at) {
                  sentences.push(tr("withdrawn: {reason}", { reason: row.withdrawn_reason ?? "" }));
                }
                return sentences.join(". ");
              },
            },
          ]
        : [];
    const layers = [
      {
        line: [
          [x.from, x.to],
          [x.from, x.to],
        ],
        colour: readColour("--muted"),
        width: 1.2,
        dash: "dot",
        mute: true,
        aside: rows.length > 0,
        name: tr("newest reading of each window"),
      },
      ...bars(by("inverse_velocity", true), tr("inverse velocity"), readColour("--forecast"), 1),
      ...bars(by("inverse_velocity", false), tr("inverse velocity, not trusted"), readColour("--muted"), 0.7),
      ...bars(by("forecast", true), tr("forecast"), readColour("--advice"), 1),
      ...bars(by("forecast", false), tr("forecast, not trusted"), readColour("--advice"), 0.5),
    ];
    const last = rows.at(-1);
    const window = newest(found)?.window;
    const over = window && window.window_to <= found.to;
    return {
      latest: window ? range(toSeconds(window.window_from), toSeconds(window.window_to)) : tr("none"),
      says: window
        ? over
          ? tr("The window ended {at}.", { at: formatMinute(toSeconds(window.window_to)) })
          : window.trusted
            ? tr("Trusted: every condition of the method holds.")
            : tr("Not trusted: {reason}.", { reason: window.reasons })
        : !rows.length
          ? tr("There was no failure window in this time.")
          : last.withdrawn_at
            ? tr("Withdrawn {at}: {reason}.", {
                at: formatMinute(toSeconds(last.withdrawn_at)),
                reason: last.withdrawn_reason ?? "",
              })
            : tr("There is no failure window now."),
      spec: { x, y: { dates: true }, layers: rows.length ? layers : [] },
    };
  }

  function angle(found) {
    const rows = own(found).filter((r) => r.tangential_angle_deg !== null);
    const last = newest(found);
    const known = typeof last?.tangential_angle_deg === "number";
    const unit = tr("degrees");
    return {
      latest: known ? `${formatNumber(last.tangential_angle_deg)}°` : "",
      spec: {
        x: ends(found),
        y: { unit, range: [0, 92] },
        layers: [
          ...bound(found, "tangential_angle", unit),
          line(rows, "tangential_angle_deg", tr("tangential angle"), unit, readColour("--curve")),
        ],
      },
      says: known
        ? tr("Against a uniform creep of {value}, as reviewed for this station.", {
            value: `${formatNumber(last.v_eq_mm_per_day)} mm/day`,
          })
        : tr("No angle: no uniform creep is reviewed for the station, or it does not move beyond its noise."),
    };
  }

  function rain(found) {
    const layers = [];
    for (const c of found.curves) {
      const whose = found.curves.length > 1 ? ` (${c.station})` : "";
      const at = (rows) => rows.filter((r) => r.intensity_mm_per_h > 0);
      const drawn = (rows) => [rows.map((r) => r.duration_h), rows.map((r) => r.intensity_mm_per_h)];
      const text = (rows) => (k) => {
        const { intensity_mm_per_h: intensity, duration_h: duration, sum_mm: sum } = rows[k];
        const rate = tr("{intensity} over {span}", {
          intensity: `${formatNumber(intensity)} mm/h`,
          span: `${formatNumber(duration)} h`,
        });
        return sum === undefined ? rate : `${rate}, ${formatNumber(sum)} mm`;
      };
      const most = at(c.most);
      const now = at(c.now);
      layers.push({
        line: drawn(c.curve),
        text: text(c.curve),
        name: `${c.criterion}${whose}`,
        colour: colourOfLevel(found.levels, c.level),
        width: 2.5,
      });
      layers.push({
        line: drawn(most),
        text: text(most),
        name: `${tr("most in this range")}${whose}`,
        colour: readColour("--rain"),
        width: 1.5,
        dash: "dot",
      });
      layers.push({
        points: drawn(now),
        text: text(now),
        name: `${tr("now")}${whose}`,
        colour: readColour("--rain"),
        shape: "round",
      });
    }
    const sentence = (c, w) =>
      tr(
        "{depth} of rain in {span} until {at}: {percent} % of the bound of {bound} ({level}), known for {known} % of that time.",
        {
          depth: `${formatNumber(w.sum_mm)} mm`,
          span: `${formatNumber(w.duration_h)} h`,
          at: c.newest_at ? formatMinute(toSeconds(c.newest_at)) : "–",
          percent: w.percent,
          bound: `${formatNumber(w.bound_mm)} mm`,
          level: tr(found.levels.find((v) => v.number === c.level)?.name ?? String(c.level)),
          known: w.known_percent,
        },
      );
    const summary = (c) => {
      if (c.worst === null) {
        return tr("no rain was measured.");
      }
      return c.worst.bound_mm > 0 ? sentence(c, c.worst) : tr("no rain that the curve is for.");
    };
    const says = found.curves.map((c) => `${c.station}: ${summary(c)}`).join(" ");
    const durations = layers.flatMap((l) => (l.line ?? l.points)[0]);
    return {
      says,
      latest: "",
      spec: {
        x: { from: Math.min(1, ...durations), to: Math.max(10, ...durations), log: true, title: tr("duration, h") },
        y: { unit: "mm/h", log: true },
        layers,
      },
    };
  }

  // what a day of the last two months usually does, by the hour of the site
  function usualDay(found) {
    const whole = found.series.filter((r) => r.day?.season.length);
    const split = whole.find((r) => r.quantity.startsWith("displacement")) ?? whole[0];
    if (!split) {
      return {
        latest: "",
        says: tr("No season of the day: it needs readings every three hours or faster."),
        spec: null,
      };
    }
    const { unit } = split;
    const midnight = 86400 * Math.floor(toSeconds(split.last_at) / 86400);
    const into = (s) => {
      const [h, m] = formatMinute(s).slice(11).split(":").map(Number);
      return 3600 * h + 60 * m;
    };
    const from = midnight - into(midnight);
    const parts = split.day.hour_utc
      .map((h, k) => [into(midnight + 3600 * h), split.day.season[k]])
      .sort((a, b) => a[0] - b[0]);
    parts.unshift([parts.at(-1)[0] - 86400, parts.at(-1)[1]]);
    parts.push([parts[1][0] + 86400, parts[1][1]]);
    return {
      latest: `${formatNumber(split.day_range)} ${unit}`,
      says: tr(
        "{quantity}: within a day it moves by {value}, as in the last two months; strength of that season {strength}.",
        {
          quantity: tr(split.quantity.replaceAll("_", " ")),
          value: `${formatNumber(split.day_range)} ${unit}`,
          strength: formatNumber(split.day_strength),
        },
      ),
      spec: {
        x: { from, to: from + 86399, day: true },
        y: { unit },
        layers: [
          {
            line: [parts.map((p) => from + p[0]), parts.map((p) => p[1])],
            dots: 2,
            width: 1.6,
            colour: readColour("--forecast"),
            name: tr("season of the day"),
            unit,
          },
        ],
      },
    };
  }

  // the whole record, whatever the range of the other pictures: a season is seen over years
  function season(found) {
    const whole = found.series.filter((r) => !r.reason).sort((a, b) => b.season_range - a.season_range);
    const split = whole.find((r) => r.quantity.startsWith("displacement")) ?? whole[0];
    const first = found.series.find((r) => r.quantity.startsWith("displacement")) ?? found.series[0];
    if (!split) {
      return {
        latest: "",
        says: first
          ? tr("No season: {reason}.", { reason: first.reason })
          : tr("Not computed yet. It is computed every night."),
        spec: null,
      };
    }
    const { value, trend, season, remainder } = split.components;
    const at = split.components.at.map(toSeconds);
    const { unit } = split;
    const part = (y, name, colour, more) => ({ line: [at, y], name, colour, width: 1.6, unit, ...more });
    const x = { from: at[0], to: at.at(-1) };
    return {
      latest: tr("season of {value} in a year", { value: `${formatNumber(split.season_range)} ${unit}` }),
      says: tr(
        "{quantity}: strength of the season {season}, of the trend {trend}; 1 = nothing else. Found by {method} over the whole record: it knows what came later and feeds no forecast.",
        {
          quantity: tr(split.quantity.replaceAll("_", " ")),
          season: formatNumber(split.season_strength),
          trend: formatNumber(split.trend_strength),
          method: split.method,
        },
      ),
      spec: {
        x,
        y: { unit },
        layers: [
          part(value, tr("observed"), readColour("--muted"), { alpha: 0.6 }),
          part(trend, tr("trend"), readColour("--curve")),
        ],
      },
      below: {
        x,
        y: { unit },
        layers: [
          part(season, tr("season"), readColour("--forecast")),
          part(remainder, tr("remainder"), readColour("--advice"), { alpha: 0.7, dash: "dot" }),
        ],
      },
    };
  }

  const movement = (f) => `movement/${f.dataset.station}?span=${span}`;
  const pictures = {
    season: [(f) => `season/${f.dataset.station}`, season],
    day: [(f) => `season/${f.dataset.station}`, usualDay],
    rain: [() => `rain?span=${span}`, rain],
    ribbon: [() => `ribbon?span=${span}`, ribbon],
    velocity: [movement, velocity],
    inverse: [movement, inverse],
    window: [movement, drift],
    angle: [movement, angle],
  };

  // one picture or two below each other, in the room that the page keeps for them
  function fill(plot, specs) {
    const hosts = specs.map((_, k) =>
      plot.children[k]?.classList.contains("half")
        ? plot.children[k]
        : Object.assign(document.createElement("div"), { className: "half" }),
    );
    for (const node of plot.querySelectorAll(".half")) {
      if (!hosts.includes(node)) {
        node.plot?.destroy();
        node.remove();
      }
    }
    plot.append(...hosts);
    return hosts;
  }

  async function draw(figure) {
    const plot = figure.querySelector(".plot");
    const [path, make] = pictures[figure.dataset.plot];
    const turn = (figure.turn = (figure.turn ?? 0) + 1);
    const said = figure.querySelector(".says");
    let found;
    try {
      found = await ask(path(figure));
    } catch (error) {
      cache.delete(path(figure));
      said.textContent = tr("The figures could not be loaded: {reason}", { reason: error.message });
      return;
    }
    if (turn !== figure.turn) {
      return;
    } // somebody chose anew meanwhile
    const { spec, below, says, latest, rows } = make(found);
    const specs = [spec, below].filter((s) =>
      s?.layers.some((l) => (l.line ?? l.points ?? l.band ?? [l.blocks ?? []])[0].length),
    ); // a bound alone shows nothing
    if (rows) {
      plot.style.height = `${Math.max(110, 60 + 24 * rows)}px`;
    }
    const hosts = fill(plot, specs);
    const text = says || "\u00a0";
    specs.forEach((s, k) =>
      drawPlot(hosts[k], s, {
        hideX: k < specs.length - 1,
        onCursor: (at, u) => {
          // what stands under the pointer takes the place of the sentence
          const read =
            at === null ? [] : findValuesAt(s, at, s.x.log ? 0.15 * at : 0.03 * (u.scales.x.max - u.scales.x.min));
          if (!read.length) {
            said.textContent = text;
            return;
          }
          const values = read.map((r) => (s.y.rows ? r.text : `${r.layer.name}: ${r.text}`));
          if (!s.x.log) {
            values.unshift(s.x.day ? formatMinute(at).slice(11) : formatInstant(at));
          }
          said.textContent = values.join(" · ");
        },
      }),
    );
    figure.classList.toggle("empty", !specs.length); // it folds to one line that says why
    figure.querySelector(".key").replaceWith(makeLegend(specs.flatMap((s) => s.layers)));
    said.textContent = text;
    const newest = figure.querySelector(".latest");
    if (newest) {
      newest.textContent = latest;
    }
    plot.setAttribute(
      "aria-label",
      `${(plot.dataset.name ??= plot.getAttribute("aria-label"))} ${figure.dataset.station ?? ""}: ${latest} ${says}`,
    );
    figure.drawn = true;
    figure.dataset.drawn = "1";
  }

  // pictures are drawn when they come near, anew when the range, the colours or the data change
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        target.near = isIntersecting;
        if (isIntersecting && !target.drawn && !target.busy) {
          target.busy = true;
          draw(target).finally(() => {
            target.busy = false;
          });
        }
      }
    },
    { rootMargin: "300px" },
  );
  const again = () => {
    for (const f of figures) {
      f.drawn = false;
      if (f.near) {
        draw(f);
      }
    }
  };
  // one station at a time: that of the address, else the fastest
  const stations = document.querySelector("select[name=station]");
  const choose = () => {
    for (const f of figures) {
      if (f.dataset.station) {
        f.dataset.station = stations.value;
      }
    }
  };
  const asked = new URLSearchParams(location.search).get("station");
  if (stations) {
    if ([...stations.options].some((o) => o.value === asked)) {
      stations.value = asked;
    }
    choose();
    stations.addEventListener("change", () => {
      choose();
      again();
    });
  }
  for (const figure of figures) {
    watch.observe(figure);
  }
  onColourChange(again);
  bindSpanButtons((chosen) => {
    span = chosen;
    again();
  });
  setInterval(() => {
    cache = new Map();
    again();
  }, 60000);
})();
