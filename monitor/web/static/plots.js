// What every picture shares: colours of the page, spelling of numbers, the key below a plot, loading of figures.
"use strict";
window.Slopeward = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const known = { green: "0", blue: "b", yellow: "1", amber: "1", orange: "2", red: "3", purple: "4" };
  const level = (rows, number) => {
    const row = rows.find((r) => r.number === number), top = rows.at(-1).number || 1;
    return css(`--lv-${known[row?.name.toLowerCase()] ?? Math.round(3 * number / top)}`);
  };
  const show = (value) => value === null || value === undefined ? "–" : Number(value.toPrecision(4)).toString();

  // plotly's own legend would take half of a phone's picture
  function key(traces) {
    const list = document.createElement("ul");
    list.className = "key";
    const shape = (trace) => {
      const line = trace.line ?? {}, colour = trace.type === "bar" ? trace.marker.color : trace.fill ? trace.fillcolor : trace.mode === "markers" ? trace.marker.color : line.color;
      const thick = trace.fill || trace.type === "bar" ? 9 : trace.mode === "markers" ? 0 : 2.5;
      const dashes = { dash: "6 3", dot: "2 3", longdashdot: "9 3 2 3" }[line.dash] ?? "none";
      return thick ? `<path d="M1 6 H25" stroke="${colour}" stroke-width="${thick}" stroke-dasharray="${dashes}"/>` : `<path d="M8 1 L18 11 M18 1 L8 11" stroke="${colour}" stroke-width="2.5"/>`;
    };
    for (const trace of traces) {
      if (trace.showlegend === false || !trace.name) continue;
      const item = document.createElement("li");
      item.innerHTML = `<svg viewBox="0 0 26 12" aria-hidden="true">${shape(trace)}</svg>`;
      item.append(trace.name);
      list.append(item);
    }
    return list;
  }

  async function load(url) {
    const language = document.documentElement.lang;
    const answer = await fetch(language === "en" ? url : `${url}${url.includes("?") ? "&" : "?"}lang=${language}`, { signal: AbortSignal.timeout(15000) });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
  }

  const axis = () => ({ gridcolor: css("--grid"), linecolor: css("--grid"), zeroline: false, tickfont: { size: 11 }, automargin: true });
  // plotly knows the months of English alone: others read them as numbers, year first
  const dates = document.documentElement.lang === "en" ? {} : { tickformatstops: [
    { dtickrange: [null, 86399999], value: "%H:%M\n%m-%d" }, { dtickrange: [86400000, "M11"], value: "%m-%d\n%Y" }, { dtickrange: ["M12", null], value: "%Y" },
  ] };
  const layout = (plot, more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: css("--font"), color: css("--text"), size: 12 },
    margin: { l: 48, r: 10, t: 12, b: 26 }, height: plot.clientHeight, showlegend: false, hovermode: "closest", dragmode: "zoom", ...more,
  });
  const options = { responsive: true, displayModeBar: false, scrollZoom: false };

  // draws figures when they come near, anew when the range, the colours or the data change
  function follow(figures, draw) {
    const watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        target.near = isIntersecting;
        if (isIntersecting && !target.drawn && !target.busy) { target.busy = true; draw(target).finally(() => { target.busy = false; }); }
      }
    }, { rootMargin: "300px" });
    const again = () => { for (const f of figures) { f.drawn = false; if (f.near) draw(f); } };
    for (const figure of figures) watch.observe(figure);
    document.addEventListener("themechange", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    return again;
  }

  // buttons that choose a range
  function spans(chosen) {
    const buttons = [...document.querySelectorAll("[data-span]")];
    for (const button of buttons) button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      chosen(button.dataset.span);
    });
  }

  return { css, level, show, key, load, axis, dates, layout, options, follow, spans };
})();
