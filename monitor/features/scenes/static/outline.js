// Drawing on a scene: corners by click, tap or at the cross, moved and removed, undone, stored; footprints corrected.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const holder = document.getElementById("outline");
  if (!holder) {
    return;
  }
  const form = document.getElementById("drawing");
  const trouble = form?.querySelector(".trouble");
  const api = `/api/v1/sites/${holder.dataset.site}/scenes/${holder.dataset.scene}`;
  const numbers = (text) => text.split(",").map(Number);
  const bounds = numbers(holder.dataset.bounds);
  const FEW = 12;
  const MOST_TAKEN = 150;
  const STEP_PX = 10;
  const state = {
    outlines: M.EMPTY,
    footprints: M.EMPTY,
    ring: [],
    isClosed: false,
    picked: null,
    past: [],
    picture: null,
  };
  const isDrawing = () => state.ring.length > 0 || form?.dataset.state === "open";
  let map = null;
  let dragged = null;
  let endedAt = 0;

  // ---- what is drawn ----------------------------------------------------------------------------
  const box = ([west, south, east, north]) => [
    [
      [west, south],
      [east, south],
      [east, north],
      [west, north],
      [west, south],
    ],
  ];
  const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const point = (coordinates, properties) => ({
    type: "Feature",
    geometry: { type: "Point", coordinates },
    properties,
  });
  function draft() {
    const { ring, isClosed } = state;
    const features = ring.map((corner, k) => point(corner, { part: k === state.picked ? "picked" : "corner" }));
    if (isClosed) {
      ring.forEach((corner, k) =>
        features.push(point(middle(corner, ring[(k + 1) % ring.length]), { part: "between" })),
      );
    }
    if (ring.length > 1) {
      features.push({
        type: "Feature",
        geometry: isClosed
          ? { type: "Polygon", coordinates: [[...ring, ring[0]]] }
          : { type: "LineString", coordinates: ring },
        properties: { part: "shape" },
      });
    }
    return { type: "FeatureCollection", features };
  }
  function style() {
    const text = M.readColour("--text");
    const panel = M.readColour("--panel");
    const link = M.readColour("--link");
    const colours = {
      landslide: M.readColour("--lv-3"),
      not_landslide: M.readColour("--lv-b"),
      nothing: M.readColour("--lv-0"),
    };
    const dashes = { landslide: [1], not_landslide: [3, 2], nothing: [1, 2] };
    const sources = {
      ...state.picture?.sources,
      footprints: { type: "geojson", data: state.footprints },
      outlines: { type: "geojson", data: state.outlines },
      draft: { type: "geojson", data: draft() },
      tile: {
        type: "geojson",
        data: holder.dataset.tile ? { type: "Polygon", coordinates: box(numbers(holder.dataset.tile)) } : M.EMPTY,
      },
    };
    const line = (id, source, colour, dash, filter) => [
      {
        id: `${id}-halo`,
        type: "line",
        source,
        ...filter,
        paint: { "line-color": panel, "line-width": 5, "line-opacity": 0.8 },
      },
      {
        id,
        type: "line",
        source,
        ...filter,
        paint: { "line-color": colour, "line-width": 2.4, ...(dash.length > 1 ? { "line-dasharray": dash } : {}) },
      },
    ];
    const part = (name, radius, colour) => ({
      id: `draft-${name}`,
      type: "circle",
      source: "draft",
      filter: ["==", ["get", "part"], name],
      paint: { "circle-radius": radius, "circle-color": colour, "circle-stroke-color": text, "circle-stroke-width": 2 },
    });
    const shape = { filter: ["==", ["get", "part"], "shape"] };
    return {
      sources,
      layers: [
        ...(state.picture?.layers ?? []),
        ...line("tile", "tile", text, [4, 3], {}),
        ...line("footprints", "footprints", M.readColour("--advice"), [1], {}),
        ...Object.keys(colours).flatMap((kind) =>
          line(kind, "outlines", colours[kind], dashes[kind], { filter: ["==", ["get", "kind"], kind] }),
        ),
        {
          id: "draft-area",
          type: "fill",
          source: "draft",
          filter: ["==", ["geometry-type"], "Polygon"],
          paint: { "fill-color": link, "fill-opacity": 0.25 },
        },
        ...line("draft", "draft", link, [1], shape),
        part("between", 4, panel),
        part("corner", 7, panel),
        part("picked", 9, link),
      ],
    };
  }
  function show() {
    map?.getSource("draft")?.setData(draft());
    if (!form) {
      return;
    }
    const now = state.isClosed ? "closed" : isDrawing() ? "open" : "idle";
    form.dataset.state = now;
    for (const part of form.querySelectorAll("[data-when]")) {
      part.hidden = part.dataset.when !== now;
    }
    view.classList.toggle("is-drawing", now !== "idle");
    const count = {
      closed: tr("Corners: {count}. Drag them, or store the outline.", { count: state.ring.length }),
      open: state.ring.length
        ? tr("Corners: {count}", { count: state.ring.length })
        : tr("Click or tap the first corner."),
      idle: "",
    };
    if (now !== "idle") {
      trouble.textContent = count[now];
    }
  }

  // ---- corners ----------------------------------------------------------------------------------
  const within = ([lon, lat]) =>
    [Math.min(Math.max(lon, bounds[0]), bounds[2]), Math.min(Math.max(lat, bounds[1]), bounds[3])].map((x) =>
      Number(x.toFixed(7)),
    );
  const keep = () => {
    state.past.push({ ring: state.ring.map((c) => [...c]), isClosed: state.isClosed, picked: state.picked });
    if (state.past.length > 200) {
      state.past.shift();
    }
  };
  const hit = (at, reach) => {
    const far = (lngLat) => {
      const p = map.project(lngLat);
      return Math.hypot(p.x - at.x, p.y - at.y);
    };
    const nearest = (places) =>
      places.reduce(
        (best, place, k) => {
          const px = far(place);
          return px <= reach && px < best.px ? { k, px } : best;
        },
        { k: -1, px: Infinity },
      ).k;
    const corner = nearest(state.ring);
    if (corner >= 0 || !state.isClosed) {
      return corner >= 0 ? { k: corner, isNew: false } : null;
    }
    const between = nearest(state.ring.map((c, k) => middle(c, state.ring[(k + 1) % state.ring.length])));
    return between >= 0 ? { k: between + 1, isNew: true } : null;
  };
  function add(lngLat) {
    keep();
    if (state.isClosed) {
      if (state.picked !== null) {
        state.ring[state.picked] = within(lngLat);
      }
    } else {
      state.ring.push(within(lngLat));
    }
    show();
  }
  function close() {
    if (state.ring.length < 3) {
      trouble.textContent = tr("An outline has three corners at least.");
      return;
    }
    keep();
    state.isClosed = true;
    state.picked = null;
    show();
  }
  function begin(ring, { from = "", instead = "", kind = "landslide" } = {}) {
    Object.assign(state, { ring, isClosed: ring.length > 0, picked: null, past: [] });
    form.elements.from_polygon.value = from;
    form.elements.instead_of.value = instead;
    form.elements.note.value = "";
    form.querySelector(`[name="kind"][value="${kind}"]`).checked = true;
    form.dataset.state = "open";
    show();
    view.scrollIntoView({ block: "nearest" });
    map.getCanvas().focus({ preventScroll: true });
  }
  const end = () => {
    Object.assign(state, { ring: [], isClosed: false, picked: null, past: [] });
    form.dataset.state = "idle";
    show();
  };
  const acts = {
    draw: () => begin([]),
    nothing: () => {
      const b = map.getBounds();
      const [west, south] = within([b.getWest(), b.getSouth()]);
      const [east, north] = within([b.getEast(), b.getNorth()]);
      begin(
        [
          [west, south],
          [east, south],
          [east, north],
          [west, north],
        ],
        { kind: "nothing" },
      );
    },
    corner: () => add(map.getCenter().toArray()),
    undo: () => {
      const last = state.past.pop();
      if (last) {
        Object.assign(state, last);
      }
      show();
    },
    close,
    discard: end,
    next: () => {
      state.picked = state.picked === null ? 0 : (state.picked + 1) % state.ring.length;
      map.jumpTo({ center: state.ring[state.picked] });
      show();
    },
    remove: () => {
      if (state.picked === null || state.ring.length < 4) {
        trouble.textContent =
          state.picked === null ? tr("Choose a corner first: tap it.") : tr("An outline has three corners at least.");
        return;
      }
      keep();
      state.ring.splice(state.picked, 1);
      state.picked = null;
      show();
    },
  };

  // ---- pointer and keys -------------------------------------------------------------------------
  const view = Object.assign(document.createElement("div"), { className: "mapview outlineview" });
  const place = (event) => {
    const r = map.getCanvas().getBoundingClientRect();
    return { x: event.clientX - r.left, y: event.clientY - r.top };
  };
  function listen() {
    view.addEventListener(
      "pointerdown",
      (event) => {
        if (!state.isClosed || !event.isPrimary || event.button !== 0 || !map.getCanvas().contains(event.target)) {
          return;
        }
        const found = hit(place(event), event.pointerType === "touch" ? 22 : 12);
        if (!found) {
          return;
        }
        keep();
        if (found.isNew) {
          state.ring.splice(found.k, 0, within(map.unproject(Object.values(place(event))).toArray()));
        }
        state.picked = dragged = found.k;
        view.setPointerCapture(event.pointerId);
        show();
      },
      true,
    );
    view.addEventListener("pointermove", (event) => {
      if (dragged === null) {
        return;
      }
      state.ring[dragged] = within(map.unproject(Object.values(place(event))).toArray());
      show();
    });
    const drop = () => {
      if (dragged !== null) {
        dragged = null;
        endedAt = performance.now();
      }
    };
    for (const name of ["pointerup", "pointercancel"]) {
      view.addEventListener(name, drop);
    }
    // the map itself must not move, zoom or take a click while a corner is dragged
    for (const name of ["mousedown", "touchstart", "touchmove"]) {
      view.addEventListener(
        name,
        (event) => {
          if (dragged !== null) {
            event.stopPropagation();
            event.preventDefault();
          }
        },
        { capture: true, passive: false },
      );
    }
    map.on("click", (event) => {
      if (performance.now() - endedAt < 300 || state.isClosed || !isDrawing()) {
        return;
      }
      const found = state.ring.length > 2 ? hit(event.point, 16) : null;
      if (found?.k === 0) {
        close();
      } else {
        add(event.lngLat.toArray());
      }
    });
    map.doubleClickZoom.disable();
    map.keyboard.disable();
    view.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 10 * STEP_PX : STEP_PX;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      const keys = {
        "+": () => map.zoomIn({ duration: 0 }),
        "=": () => map.zoomIn({ duration: 0 }),
        "-": () => map.zoomOut({ duration: 0 }),
      };
      if (form && isDrawing()) {
        Object.assign(keys, { Enter: acts.corner, Backspace: acts.undo, Delete: acts.remove });
      }
      if ((event.ctrlKey || event.metaKey) && event.key === "z") {
        keys.z = acts.undo;
      }
      const act = moves[event.key] ? () => map.panBy(moves[event.key], { duration: 0 }) : keys[event.key];
      if (!act || !map.getCanvas().contains(event.target)) {
        return;
      }
      event.preventDefault();
      act();
    });
  }

  // ---- what is stored ---------------------------------------------------------------------------
  async function load() {
    [state.outlines, state.footprints] = await Promise.all([M.fetchJson(`${api}/outlines.geojson`), M.fetchJson(api)]);
    for (const name of ["outlines", "footprints"]) {
      map?.getSource(name)?.setData(state[name]);
    }
  }
  async function refresh() {
    const answer = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["tile", "drawn", "found"]) {
      const found = page.getElementById(id);
      if (found) {
        document.getElementById(id).replaceWith(found);
      }
    }
    unhide();
  }
  const unhide = () => {
    for (const one of document.querySelectorAll("[data-show], [data-take], [data-correct]")) {
      one.hidden = false;
    }
  };
  async function store(event) {
    event.preventDefault();
    const button = event.submitter;
    form.elements.geometry.value = JSON.stringify({ type: "Polygon", coordinates: [[...state.ring, state.ring[0]]] });
    if (button) {
      button.disabled = true;
    }
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        headers: { Accept: "application/json" },
      });
      if (!answer.ok) {
        throw new Error(await readRefusal(answer));
      }
      const { outline } = await answer.json();
      end();
      trouble.textContent = tr("Outline {number} is stored.", { number: outline });
    } catch (error) {
      trouble.textContent = error instanceof TypeError ? tr("It could not be stored: no connection.") : error.message;
      return;
    } finally {
      if (button) {
        button.disabled = false;
      }
    }
    // it is stored: the lists show it when the page is loaded again
    await Promise.all([load(), refresh()]).catch(() => {});
  }
  // the largest part of a footprint, without holes
  function ringOf({ geometry }) {
    const rings =
      geometry.type === "MultiPolygon" ? geometry.coordinates.map((part) => part[0]) : [geometry.coordinates[0]];
    return rings.reduce((best, ring) => (ring.length > best.length ? ring : best)).slice(0, -1);
  }
  // with few enough corners to be moved by hand: without the stairs of pixels, and coarser until it
  // fits (Douglas and Peucker 1973)
  function thin(ring) {
    if (ring.length <= FEW) {
      return ring;
    }
    const away = (p, a, b) => {
      const dx = b[0] - a[0];
      const dy = b[1] - a[1];
      const size = Math.hypot(dx, dy);
      return size ? Math.abs(dy * (p[0] - a[0]) - dx * (p[1] - a[1])) / size : Math.hypot(p[0] - a[0], p[1] - a[1]);
    };
    const walk = (line, least) => {
      const kept = new Set([0, line.length - 1]);
      const open = [[0, line.length - 1]];
      while (open.length) {
        const [a, b] = open.pop();
        let far = 0;
        let at = 0;
        for (let k = a + 1; k < b; k++) {
          const size = away(line[k], line[a], line[b]);
          if (size > far) {
            far = size;
            at = k;
          }
        }
        if (far > least) {
          kept.add(at);
          open.push([a, at], [at, b]);
        }
      }
      return line.filter((_, k) => kept.has(k));
    };
    const half = Math.floor(ring.length / 2);
    const turned = [...ring.slice(0, half + 1)];
    const rest = [...ring.slice(half), ring[0]];
    const sides = ring
      .map((c, k) => Math.hypot(c[0] - ring.at(k - 1)[0], c[1] - ring.at(k - 1)[1]))
      .filter((side) => side > 0);
    for (let least = 0.75 * Math.min(...sides); ; least *= 1.6) {
      const found = [...walk(turned, least), ...walk(rest, least).slice(1, -1)];
      if (found.length <= MOST_TAKEN) {
        return found;
      }
    }
  }
  const frame = (ring) => {
    const lons = ring.map((c) => c[0]);
    const lats = ring.map((c) => c[1]);
    return [
      [Math.min(...lons), Math.min(...lats)],
      [Math.max(...lons), Math.max(...lats)],
    ];
  };
  function press({ target }) {
    const button = target.closest?.("[data-do], [data-show], [data-take], [data-correct]");
    if (!button || !map) {
      return;
    }
    const { do: act, show: shown, take, correct } = button.dataset;
    if (act) {
      acts[act]();
      return;
    }
    const id = shown ?? take ?? correct;
    const feature = [...state.outlines.features, ...state.footprints.features].find((f) => f.id === id);
    if (!feature) {
      if (trouble) {
        trouble.textContent = tr("Only the 500 largest footprints are drawn.");
      }
      return;
    }
    const ring = ringOf(feature);
    map.fitBounds(frame(ring), { padding: 40, maxZoom: 18, duration: 0 });
    if (shown) {
      view.scrollIntoView({ block: "nearest" });
      return;
    }
    begin(
      (take ? thin(ring) : ring).map(within),
      take
        ? { from: take }
        : { instead: correct, from: feature.properties.from_polygon ?? "", kind: feature.properties.kind },
    );
    form.elements.note.value = correct ? feature.properties.note : "";
  }

  // ---- together ---------------------------------------------------------------------------------
  function findPicture(tiles) {
    const [west, south, east, north] = bounds;
    const paint = { "raster-fade-duration": 0, "raster-resampling": "nearest" };
    const source = M.makeTileSource(tiles) ?? {
      type: "image",
      url: `${api}/preview.png`,
      coordinates: [
        [west, north],
        [east, north],
        [east, south],
        [west, south],
      ],
    };
    return { sources: { scene: source }, layers: [{ id: "scene", type: "raster", source: "scene", paint }] };
  }
  async function start() {
    await load();
    const image = holder.querySelector("img");
    state.picture = findPicture((await M.fetchJson(`${api}/map`)).tiles);
    image.before(view);
    const first = holder.dataset.tile ? numbers(holder.dataset.tile) : bounds;
    try {
      ({ map } = await M.openMap(view, {
        ground: M.NO_GROUND,
        bounds: [first.slice(0, 2), first.slice(2)],
        label: tr("Picture of the scene; the lists below say what is drawn on it"),
        style,
        margin: 30,
      }));
    } catch (error) {
      view.remove();
      throw error;
    }
    image.remove();
    view.append(Object.assign(document.createElement("span"), { className: "drawcross" }));
    listen();
    unhide();
    document.addEventListener("click", press);
    if (!form) {
      return;
    }
    form.hidden = false;
    form.addEventListener("submit", store);
    show();
  }
  if (M.canDraw()) {
    M.drawWhenNear(holder, start);
  }
})();
