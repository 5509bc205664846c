// Keeps a page true: asks for its parts every 10 s; lets ages run every second, and says so when it cannot.
"use strict";
(() => {
  const EVERY = 10_000;
  const STALE = 30_000;
  const main = document.getElementById("main");
  const address = main.dataset.live;
  // the browser's clock may be wrong: ages count from the server's time and the monotonic clock
  let server = Date.parse(document.body.dataset.now);
  let seen = performance.now();
  // the service worker found this page on the device: it came then
  const kept = Number(document.body.dataset.kept ?? 0);
  if (kept) {
    seen -= Math.max(Date.now() - kept, 0);
  }
  const now = () => server + performance.now() - seen;

  const zoned = (() => {
    // the clock of the place that the page is about; spelled as ISO 8601 does
    const style = {
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    };
    try {
      return new Intl.DateTimeFormat("sv-SE", { ...style, timeZone: main.dataset.zone });
    } catch {
      return new Intl.DateTimeFormat("sv-SE", { ...style, timeZone: "UTC" });
    }
  })();

  const spell = (ms) => {
    // as `spell_age` does
    const s = Math.max(Math.round(ms / 1000), 1);
    const min = Math.round(s / 60);
    const h = Math.round(s / 3600);
    if (s < 60) {
      return `${s} s`;
    }
    if (min < 60) {
      return `${min} min`;
    }
    if (h >= 240) {
      return `${Math.round(s / 86400)} d`;
    }
    const two = (value, in_one, big, small) =>
      `${Math.floor(value / in_one)} ${big}${value % in_one ? ` ${value % in_one} ${small}` : ""}`;
    return min < 1440 ? two(min, 60, "h", "min") : two(h, 24, "d", "h");
  };

  const tick = () => {
    const at = now();
    for (const node of document.querySelectorAll("time[data-age]")) {
      const text = spell(at - Date.parse(node.dateTime));
      if (node.textContent !== text) {
        node.textContent = text;
      }
    }
    document.getElementById("clock").textContent = zoned.format(at).slice(11, 19);
    const old = performance.now() - seen;
    const stale = document.getElementById("stale");
    stale.hidden = kept || old < STALE;
    document.body.classList.toggle("is-stale", kept || old >= STALE);
    if (old >= STALE) {
      document.getElementById("stale-at").textContent =
        `${zoned.format(server)} ${document.querySelector(".clock").lastChild.textContent.trim()}`;
      document.getElementById("stale-age").textContent = spell(old);
    }
  };

  // change only what differs, so that focus, scroll, selection and opened details stay
  const morph = (from, to) => {
    if (from.isEqualNode(to)) {
      return;
    }
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
      from.replaceWith(to.cloneNode(true));
      return;
    }
    if (from.nodeType !== Node.ELEMENT_NODE) {
      from.nodeValue = to.nodeValue;
      return;
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value) {
        from.setAttribute(name, value);
      }
    }
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && name !== "open") {
        from.removeAttribute(name);
      }
    }
    // what has an id is the same thing wherever it stands now: what somebody types or chooses there stays with it
    const ids = new Set([...to.children].map((node) => node.id).filter(Boolean));
    for (const node of [...from.children]) {
      if (node.id && !ids.has(node.id)) {
        node.remove();
      }
    }
    const mine = new Map([...from.children].filter((node) => node.id).map((node) => [node.id, node]));
    [...to.childNodes].forEach((node, k) => {
      const at = from.childNodes[k];
      const same = node.id ? mine.get(node.id) : !at?.id && at;
      if (!same) {
        from.insertBefore(node.cloneNode(true), at ?? null);
        return;
      }
      if (same !== at) {
        from.insertBefore(same, at ?? null);
      }
      morph(same, node);
    });
    while (from.childNodes.length > to.childNodes.length) {
      from.lastChild.remove();
    }
  };

  const refresh = async () => {
    if (document.hidden) {
      return;
    }
    try {
      const answer = await fetch(
        `${address}${address.includes("?") ? "&" : "?"}lang=${document.documentElement.lang}`,
        { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) },
      );
      if (answer.status === 401) {
        location.reload();
        return;
      } // the session is over, and reading takes one
      if (!answer.ok) {
        return;
      }
      if (kept) {
        location.reload();
        return;
      } // the connection is back
      const { now: at, parts } = await answer.json();
      server = Date.parse(at);
      seen = performance.now();
      for (const [name, html] of Object.entries(parts)) {
        const part = document.getElementById(`part-${name}`);
        if (!part) {
          continue;
        }
        const fresh = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstChild;
        const holder = part.cloneNode(false);
        holder.append(...fresh.childNodes);
        morph(part, holder);
      }
      tick();
      document.dispatchEvent(new Event("refreshed"));
    } catch {
      /* the stale banner speaks after 30 s */
    }
  };

  setInterval(tick, 1000);
  tick();
  if (address) {
    setInterval(refresh, EVERY);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) {
        refresh();
      }
    });
  }
})();
