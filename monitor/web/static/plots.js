// What every picture shares: colours of the page, figures, times of the site, the key, and a
// painter of layers over uPlot.
"use strict";
window.Slopeward = (() => {
  const root = document.documentElement;
  const language = root.lang || "en";
  const zone = document.getElementById("main").dataset.zone || "UTC";
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const known = { green: "0", blue: "b", yellow: "1", amber: "1", orange: "2", red: "3", purple: "4" };
  const place = (rows, number) => {
    const row = rows.find((r) => r.number === number);
    const top = rows.at(-1).number || 1;
    return known[row?.name.toLowerCase()] ?? Math.round((3 * number) / top);
  };
  const level = (rows, number) => css(`--lv-${place(rows, number)}`);
  // as spell_number in monitor/text/figures.py: whole digits are never rounded to tens,
  // levels in m have two decimals
  const show = (value, unit) => {
    if (value === null || value === undefined) {
      return "–";
    }
    const size = Math.abs(value);
    return unit === "m" && size >= 100
      ? value.toFixed(2)
      : size >= 1000
        ? value.toFixed(0)
        : Number(value.toPrecision(4)).toString();
  };
  const seconds = (at) => Date.parse(at) / 1000;
  // columns of instants come as the first one and the steps to the next ones
  const unfold = (steps) => {
    let at = 0;
    return steps.map((step) => (at += step));
  };

  // local time of the site first; UTC is said beside it
  const spelled = (place, options) => {
    const form = new Intl.DateTimeFormat(place, { timeZone: zone, hourCycle: "h23", ...options });
    return (s) => form.format(s * 1000);
  };
  const minute = spelled("sv-SE", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  const named = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "short" });
  const zoneOf = (s) => named.formatToParts(s * 1000).find((p) => p.type === "timeZoneName").value;
  const utc = (s) => new Date(s * 1000).toISOString().slice(0, 16).replace("T", " ");
  const instant = (s) =>
    zoneOf(s) === "UTC"
      ? `${utc(s)} UTC`
      : `${minute(s)} ${zoneOf(s)} (${utc(s).slice(minute(s).slice(0, 10) === utc(s).slice(0, 10) ? 11 : 0)} UTC)`;
  const local = language === "en" ? "en-GB" : language;
  const clock = spelled(local, { hour: "2-digit", minute: "2-digit" });
  const day = spelled(local, { day: "numeric", month: "short" });
  const month = spelled(local, { month: "short", year: "numeric" });
  const year = spelled(local, { year: "numeric" });
  function ticks(_, splits, axis, space, step) {
    let before = "";
    return splits.map((s) => {
      if (s === null) {
        return null;
      }
      const [text, below] =
        step >= 31e6
          ? [year(s), ""]
          : step >= 24e5
            ? [month(s), ""]
            : step >= 86400
              ? [day(s), year(s)]
              : [clock(s), day(s)];
      const first = below !== before;
      before = below;
      return first && below ? `${text}\n${below}` : text;
    });
  }

  async function load(url, signal) {
    const asked = language === "en" ? url : `${url}${url.includes("?") ? "&" : "?"}lang=${language}`;
    const late = AbortSignal.timeout(15000);
    const answer = await fetch(asked, { signal: signal && AbortSignal.any ? AbortSignal.any([signal, late]) : late });
    const found = await answer.json();
    if (!answer.ok) {
      throw new Error(found.error);
    }
    return found;
  }

  // ---- layers: {line}, {band}, {bars}, {points}, {bound}, {blocks}, each [x, y...] as columns ---
  const DASHES = { solid: [], dash: [7, 4], dot: [2, 3], long: [10, 3, 2, 3] };
  const columns = (l) => l.line ?? l.points ?? l.bars ?? l.band;
  const isSound = (v) => v !== null && v !== undefined && Number.isFinite(v);

  function hatch(context, colour, ratio) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8 * ratio;
    const ink = tile.getContext("2d");
    ink.strokeStyle = colour;
    ink.lineWidth = 1.2 * ratio;
    for (const shift of [-8, 0, 8]) {
      ink.moveTo((shift - 1) * ratio, 9 * ratio);
      ink.lineTo((shift + 9) * ratio, -ratio);
    }
    ink.stroke();
    return context.createPattern(tile, "repeat");
  }

  function mark(c, shape, x, y, r) {
    c.beginPath();
    if (shape === "cross") {
      c.moveTo(x - r, y - r);
      c.lineTo(x + r, y + r);
      c.moveTo(x + r, y - r);
      c.lineTo(x - r, y + r);
      c.stroke();
      return;
    }
    if (shape === "up" || shape === "down") {
      const s = shape === "up" ? -1 : 1;
      c.moveTo(x - r, y - s * r);
      c.lineTo(x + r, y - s * r);
      c.lineTo(x, y + s * r);
      c.closePath();
    } else {
      c.arc(x, y, r, 0, 7);
    }
    c.fill();
  }

  function paint(u, spec) {
    const c = u.ctx;
    const ratio = devicePixelRatio || 1;
    const box = u.bbox;
    const X = (v) => u.valToPos(v, "x", true);
    const Y = (v) => u.valToPos(v, "y", true);
    const labels = [];
    c.save();
    c.beginPath();
    c.rect(box.left, box.top, box.width, box.height);
    c.clip();
    for (const l of spec.layers) {
      c.globalAlpha = l.alpha ?? 1;
      c.strokeStyle = c.fillStyle = l.colour;
      c.lineWidth = (l.width ?? 1.8) * ratio;
      c.setLineDash((DASHES[l.dash] ?? l.dash ?? []).map((d) => d * ratio));
      c.lineJoin = "round";
      if (l.band) {
        const [x, low, high] = l.band;
        const shape = new Path2D();
        x.forEach((at, k) => shape.lineTo(X(at), Y(high[k])));
        for (let k = x.length - 1; k >= 0; k--) {
          shape.lineTo(X(x[k]), Y(low[k]));
        }
        c.fill(shape);
        if (l.hatched) {
          c.globalAlpha = 0.55;
          c.fillStyle = hatch(c, l.hatched, ratio);
          c.fill(shape);
        }
      } else if (l.bars) {
        const [x, y, wide] = l.bars;
        x.forEach((at, k) => {
          const left = X(at - wide);
          const right = X(at);
          const top = Y(y[k]);
          if (right > box.left && left < box.left + box.width) {
            c.fillRect(left, top, Math.max(right - left - ratio, ratio), Y(0) - top);
          }
        });
      } else if (l.points) {
        const [x, y] = l.points;
        x.forEach((at, k) =>
          mark(c, Array.isArray(l.shape) ? l.shape[k] : l.shape, X(at), Y(y[k]), (l.size ?? 4) * ratio),
        );
      } else if (l.bound !== undefined) {
        const y = Math.round(Y(l.bound)) + 0.5;
        c.beginPath();
        c.moveTo(box.left, y);
        c.lineTo(box.left + box.width, y);
        c.stroke();
        if (l.label && y > box.top && y < box.top + box.height) {
          labels.push({ text: l.label, y: y - 3 * ratio, colour: l.colour });
        }
      } else if (l.blocks) {
        for (const b of l.blocks) {
          const left = X(b.from);
          const right = Math.max(X(b.to), left + 2 * ratio);
          c.fillStyle = b.colour;
          c.fillRect(left, Y(b.row) - 7 * ratio, right - left, 14 * ratio);
        }
      } else {
        const [x, y] = l.line;
        const path = new Path2D();
        let pen = false;
        let last = -1;
        for (let k = 0; k < x.length; k++) {
          if (!isSound(y[k]) || (spec.y.log && y[k] <= 0)) {
            pen = false;
            continue;
          }
          if (pen) {
            path.lineTo(X(x[k]), Y(y[k]));
          } else {
            path.moveTo(X(x[k]), Y(y[k]));
          }
          if (x[k] <= u.scales.x.max) {
            last = k;
          }
          pen = true;
        }
        c.stroke(path);
        if (l.dots) {
          c.setLineDash([]);
          x.forEach((at, k) => {
            if (isSound(y[k]) && !(spec.y.log && y[k] <= 0)) {
              mark(c, "round", X(at), Y(y[k]), l.dots * ratio);
            }
          });
        }
        if (l.label && last >= 0) {
          labels.push({ text: l.label, x: X(x[last]), y: Y(y[last]) + 4 * ratio, colour: l.colour });
        }
      }
    }
    c.restore();
    write(c, box, labels, ratio);
    if (spec.at !== undefined) {
      c.save();
      c.strokeStyle = css("--text");
      c.setLineDash([3 * ratio, 3 * ratio]);
      c.lineWidth = 1.5 * ratio;
      c.beginPath();
      c.moveTo(X(spec.at), box.top);
      c.lineTo(X(spec.at), box.top + box.height);
      c.stroke();
      c.restore();
    }
  }

  // names at the right end, none over another; what finds no room is left to the key
  function write(c, box, labels, ratio) {
    c.save();
    c.font = `600 ${11 * ratio}px ${css("--font")}`;
    c.textAlign = "right";
    c.lineWidth = 3 * ratio;
    c.strokeStyle = css("--panel");
    c.lineJoin = "round";
    const kept = [];
    const taken = [];
    for (const l of labels) {
      l.y = Math.min(Math.max(l.y, box.top + 11 * ratio), box.top + box.height - 2 * ratio);
      const free = [0, -13, 13, -26, 26]
        .map((d) => l.y + d * ratio)
        .find(
          (v) =>
            v > box.top + 10 * ratio && v < box.top + box.height && taken.every((o) => Math.abs(o - v) >= 12 * ratio),
        );
      if (free === undefined) {
        continue;
      }
      taken.push(free);
      kept.push(l);
    }
    taken.sort((a, b) => a - b);
    kept
      .sort((a, b) => a.y - b.y)
      .forEach((l, k) => {
        // in the order of what they name
        const right = box.left + box.width - 4 * ratio;
        const at = l.x === undefined ? right : Math.min(l.x + 6 * ratio + c.measureText(l.text).width, right);
        c.strokeText(l.text, at, taken[k]);
        c.fillStyle = l.colour;
        c.fillText(l.text, at, taken[k]);
      });
    c.restore();
  }

  // what the axis must hold within a range of x: sound values whole, bounds and fans as far as the curve stays readable
  function fit(spec, from, to) {
    const { y } = spec;
    const log = Boolean(y.log);
    if (y.range) {
      return y.range;
    }
    let low = Infinity;
    let high = -Infinity;
    const hold = (v) => {
      if (isSound(v) && !(log && v <= 0)) {
        if (v < low) {
          low = v;
        }
        if (v > high) {
          high = v;
        }
      }
    };
    for (const l of spec.layers) {
      if ((l.line || l.bars || l.points) && !l.aside) {
        const [x, v] = columns(l);
        for (let k = 0; k < x.length; k++) {
          if (x[k] >= from && x[k] <= to) {
            hold(v[k]);
          }
        }
      }
    }
    if (low > high) {
      for (const l of spec.layers) {
        if (l.bound !== undefined) {
          hold(l.bound);
        }
      }
    }
    if (low > high) {
      return log ? [0.1, 10] : [0, 1];
    }
    if (log) {
      for (const l of spec.layers) {
        if (l.bound > 0 && l.bound < high * 100 && l.bound > low / 100) {
          hold(l.bound);
        }
      }
      low = Math.max(low, high / 1e4);
      return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.05))];
    }
    if (y.zero) {
      low = Math.min(low, 0);
      high = Math.max(high, 0);
    }
    const more = 0.6 * (high - low);
    const [bottom, top] = [low - more, high + more];
    for (const l of spec.layers) {
      if (l.band) {
        l.band[0].forEach((at, k) => {
          if (at >= from && at <= to) {
            low = Math.min(low, Math.max(l.band[1][k], bottom));
            high = Math.max(high, Math.min(l.band[2][k], top));
          }
        });
      }
    }
    if (high - low < (y.least ?? 0)) {
      const middle = (high + low) / 2;
      low = middle - y.least / 2;
      high = middle + y.least / 2;
    }
    const reach = 2.5 * Math.max(high - low, Math.abs(high) * 0.05, 1e-9);
    const ends = [low - reach, high + reach];
    for (const l of spec.layers) {
      if (l.bound > ends[0] && l.bound < ends[1]) {
        low = Math.min(low, l.bound);
        high = Math.max(high, l.bound);
      }
    }
    const room = high > low ? 0.06 * Math.max(high - low, Math.abs(high) * 1e-6, 1e-9) : Math.abs(high) * 0.1 || 1;
    return [y.zero && low === 0 ? 0 : low - room, high + room];
  }

  // the decimals that tell one figure of an axis from the next
  function places(step) {
    let count = 0;
    while (count < 9 && Math.abs(step * 10 ** count - Math.round(step * 10 ** count)) > 1e-6) {
      count++;
    }
    return count;
  }

  // the picture of a spec {x, y, layers}: x {from, to, log?}, y {unit?, log?, zero?, least?, range?, rows?, dates?}
  function picture(host, spec, more = {}) {
    host.plot?.destroy();
    let seen = [spec.x.from, spec.x.to];
    const font = `${11}px ${css("--font")}`;
    const ink = css("--muted");
    const grid = { stroke: css("--grid"), width: 1 };
    const wide = spec.y.rows
      ? Math.min(110, 16 + 7 * Math.max(...spec.y.rows.map((r) => r.length)))
      : spec.y.dates
        ? 60
        : 52;
    const figures = (_, splits, axis, space, step) =>
      splits.map((v) => (v === null ? null : spec.y.log ? show(v) : Number(v.toFixed(places(step))).toString()));
    const u = new uPlot(
      {
        width: Math.max(host.clientWidth, 120),
        height: host.clientHeight,
        padding: [8, 8, more.bare ? 4 : 0, 0],
        legend: { show: false },
        cursor: {
          x: true,
          y: false,
          points: { show: false },
          drag: { x: !spec.x.log, y: false, setScale: false },
          focus: { prox: -1 },
        },
        tzDate: (s) => uPlot.tzDate(new Date(s * 1000), zone),
        scales: {
          x: {
            time: !spec.x.log,
            distr: spec.x.log ? 3 : 1,
            range: (_, a, b) => (seen = [a ?? seen[0], b ?? seen[1]]),
          },
          y: { time: false, distr: spec.y.log ? 3 : 1, range: () => fit(spec, ...seen) },
        },
        axes: [
          {
            show: !more.bare,
            stroke: ink,
            grid,
            ticks: grid,
            font,
            size: spec.x.log ? 38 : 42,
            space: spec.x.log ? 40 : 62,
            label: spec.x.title,
            labelSize: 14,
            labelFont: font,
            values: spec.x.log
              ? figures
              : spec.x.day
                ? (_, splits) => splits.map((s) => (s === null ? null : clock(s)))
                : ticks,
          },
          {
            stroke: ink,
            grid: spec.y.log
              ? { ...grid, filter: (_, s) => s.map((v) => (Number.isInteger(Math.log10(v)) ? v : null)) }
              : grid,
            ticks: spec.y.log ? { show: false } : grid,
            font,
            size: wide,
            space: spec.y.rows ? 1 : 28,
            values: spec.y.rows ? (_, s) => s.map((v) => spec.y.rows[v] ?? "") : spec.y.dates ? ticks : figures,
            ...(spec.y.dates
              ? { incrs: [3600, 10800, 21600, 43200, 86400, 172800, 432000, 864000, 2592000, 31536000] }
              : {}),
            ...(spec.y.rows ? { splits: () => spec.y.rows.map((_, k) => k) } : {}),
          },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: {
          draw: [(p) => paint(p, spec)],
          setCursor: [(p) => more.read?.(p.cursor.left < 0 ? null : p.posToVal(p.cursor.left, "x"), p)],
          setSelect: [
            (p) => {
              const { left, width } = p.select;
              if (width > 4) {
                (more.zoom ?? ((a, b) => p.setScale("x", { min: a, max: b })))(
                  p.posToVal(left, "x"),
                  p.posToVal(left + width, "x"),
                );
              }
              p.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
      },
      [
        [spec.x.from, spec.x.to],
        [1, 1],
      ],
      host,
    );
    u.over.addEventListener("dblclick", () =>
      (more.zoom ?? ((a, b) => u.setScale("x", { min: a, max: b })))(spec.x.from, spec.x.to, true),
    );
    host.plot = u;
    host.spec = spec;
    if (!host.watched) {
      host.watched = new ResizeObserver(() => {
        if (host.plot && host.clientWidth > 0) {
          host.plot.setSize({ width: host.clientWidth, height: host.clientHeight });
        }
      });
      host.watched.observe(host);
    }
    return u;
  }

  // what stands at an instant: the nearest value of each layer that is near enough to be meant
  function find(spec, at, reach) {
    const found = [];
    for (const l of spec.layers) {
      if (l.blocks) {
        for (const b of l.blocks) {
          if (at >= b.from && at < b.to) {
            found.push({ layer: l, text: b.text });
          }
        }
        continue;
      }
      if (l.mute || l.bound !== undefined || l.band) {
        continue;
      }
      const [x, y] = columns(l);
      let low = 0;
      let high = x.length - 1;
      let k = -1;
      if (l.unsorted) {
        x.forEach((v, n) => {
          if (k < 0 || Math.abs(v - at) < Math.abs(x[k] - at)) {
            k = n;
          }
        });
      } else {
        while (low < high) {
          const middle = (low + high) >> 1;
          if (x[middle] < at) {
            low = middle + 1;
          } else {
            high = middle;
          }
        }
        k = low > 0 && at - x[low - 1] < (x[low] ?? Infinity) - at ? low - 1 : low;
        if (l.bars) {
          k = low;
        }
      }
      if (k < 0 || k >= x.length || !isSound(y[k])) {
        continue;
      }
      if (Math.abs(x[k] - at) > reach) {
        continue;
      }
      found.push({
        layer: l,
        k,
        value: y[k],
        text: l.text ? l.text(k) : `${show(y[k], l.unit)} ${l.unit ?? ""}`.trim(),
      });
    }
    return found;
  }

  // the key below a picture: a legend inside would take half of a phone's picture
  function key(layers) {
    const list = document.createElement("ul");
    list.className = "key";
    const said = new Set();
    for (const l of layers) {
      const name = l.name;
      if (!name || said.has(name)) {
        continue;
      }
      said.add(name);
      const dash = (DASHES[l.dash] ?? l.dash ?? []).join(" ") || "none";
      const thick = l.band || l.bars || l.blocks ? 9 : 2.5;
      const item = document.createElement("li");
      let shape;
      if (!l.points) {
        const opacity = l.alpha ?? 1;
        shape =
          `<path d="M1 6 H25" stroke="${l.colour}" stroke-width="${thick}"` +
          ` stroke-dasharray="${dash}" opacity="${opacity}"/>`;
        if (l.hatched) {
          shape += `<path d="M3 10 L9 2 M11 10 L17 2 M19 10 L25 2" stroke="${l.hatched}" class="hatched"/>`;
        }
      } else if (l.shape === "cross") {
        shape = `<path d="M8 1 L18 11 M18 1 L8 11" stroke="${l.colour}" stroke-width="2.5"/>`;
      } else {
        shape = `<circle cx="13" cy="6" r="4" fill="${l.colour}"/>`;
      }
      item.innerHTML = `<svg viewBox="0 0 26 12" aria-hidden="true">${shape}</svg>`;
      item.append(name);
      list.append(item);
    }
    return list;
  }

  // anew when the colours change; on paper always light
  function whenColoursChange(again) {
    document.addEventListener("themechange", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    let before;
    addEventListener("beforeprint", () => {
      before = root.dataset.theme;
      root.dataset.theme = "light";
      again();
    });
    addEventListener("afterprint", () => {
      if (before) {
        root.dataset.theme = before;
      } else {
        delete root.dataset.theme;
      }
      again();
    });
  }

  // buttons that choose a range
  function spans(chosen) {
    const buttons = [...document.querySelectorAll("[data-span]")];
    const press = (span) => {
      for (const b of buttons) {
        b.setAttribute("aria-pressed", String(b.dataset.span === span));
      }
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        press(button.dataset.span);
        chosen(button.dataset.span);
      });
    }
    return press;
  }

  return {
    css,
    level,
    place,
    show,
    seconds,
    unfold,
    minute,
    instant,
    load,
    picture,
    find,
    key,
    whenColoursChange,
    spans,
  };
})();
