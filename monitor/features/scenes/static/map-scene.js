// The page of a scene: its image over that of another date with a handle between them,
// probabilities, landslides by age.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const holder = document.querySelector('[data-map="scene"]');
  if (!holder) {
    return;
  }
  const { site, scene, before } = holder.dataset;
  const api = `/api/v1/sites/${site}`;
  const MAX_ZOOM = 22;
  const AGES = ["here", "month", "year", "older", "gone"];
  const state = {
    landslides: null,
    now: null,
    then: null,
    opacity: 0,
    shown: "all",
    swipe: 50,
    compares: Boolean(before),
  };
  const extras = [];
  let map = null;
  let below = null;
  let restyle = () => {};

  const make = (tag, attributes = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const day = (instant) => instant?.slice(0, 10) ?? "–";
  const names = {
    here: tr("first seen on this image"),
    month: tr("first seen at most 30 days before"),
    year: tr("first seen at most a year before"),
    older: tr("first seen longer ago"),
    gone: tr("not confirmed on this image"),
  };

  // ---- what is asked of the server --------------------------------------------------------------
  async function load() {
    const [ground, scenes, landslides, ...layers] = await Promise.all([
      M.fetchOfMaps(`${api}/map`),
      M.fetchJson(`${api}/scenes?limit=200`),
      M.fetchJson(`${api}/scenes/${scene}/landslides.geojson`),
      ...[scene, before].filter(Boolean).map((hash) => M.fetchJson(`${api}/scenes/${hash}/map`)),
    ]);
    const [now, then = null] = [scene, before]
      .filter(Boolean)
      .map((hash, k) => ({ hash, ...layers[k], box: scenes.find((one) => one.scene_hash === hash)?.bounds ?? null }));
    return { ground, landslides, now, then };
  }
  const boundsOf = (one) => one.tiles?.bounds ?? one.box;

  // ---- what is drawn ----------------------------------------------------------------------------
  const visible = (shown) => (shown ? "visible" : "none");
  const isShown = (age) => state.shown === "all" || state.shown === age;
  const filterAges = () => ["in", ["get", "age"], ["literal", AGES.filter(isShown)]];
  function styleOf(one) {
    // those of this image lie on both: so the ground before is seen inside of them
    const sources = { landslides: { type: "geojson", data: state.landslides } };
    const layers = [];
    const plain = { "raster-fade-duration": 0 };
    if (one.tiles) {
      sources.scene = M.makeTileSource(one.tiles);
    } else if (one.box) {
      const [west, south, east, north] = one.box;
      sources.scene = {
        type: "image",
        url: `${api}/scenes/${one.hash}/preview.png`,
        coordinates: [
          [west, north],
          [east, north],
          [east, south],
          [west, south],
        ],
      };
    }
    if (sources.scene) {
      layers.push({ id: "scene", type: "raster", source: "scene", paint: plain });
    }
    if (one.probability) {
      // what is hidden is not loaded
      sources.probability = M.makeTileSource(one.probability);
      layers.push({
        id: "probability",
        type: "raster",
        source: "probability",
        layout: { visibility: visible(state.opacity > 0) },
        paint: { ...plain, "raster-opacity": state.opacity },
      });
    }
    const danger = M.readColour("--lv-3");
    const advice = M.readColour("--advice");
    const text = M.readColour("--text");
    const muted = M.readColour("--muted");
    const lines = {
      here: [danger, 3, null],
      month: [danger, 2.4, [4, 2]],
      year: [advice, 2.4, [3, 2]],
      older: [text, 2.2, [1.5, 1.5]],
      gone: [muted, 2, [0.6, 2]],
    };
    const wanted = filterAges();
    layers.push(
      {
        id: "age-area",
        type: "fill",
        source: "landslides",
        filter: wanted,
        paint: { "fill-color": danger, "fill-opacity": ["match", ["get", "age"], "here", 0.18, 0.01] },
      },
      {
        id: "age-halo",
        type: "line",
        source: "landslides",
        filter: wanted,
        paint: { "line-color": M.readColour("--panel"), "line-width": 5, "line-opacity": 0.8 },
      },
      ...AGES.map((age) => ({
        id: `age-${age}`,
        type: "line",
        source: "landslides",
        filter: ["==", ["get", "age"], age],
        layout: { visibility: visible(isShown(age)) },
        paint: {
          "line-color": lines[age][0],
          "line-width": lines[age][1],
          ...(lines[age][2] ? { "line-dasharray": lines[age][2] } : {}),
        },
      })),
    );
    return { sources, layers };
  }
  function style() {
    const own = styleOf(state.now);
    for (const extra of extras) {
      const { sources = {}, layers = [] } = extra();
      Object.assign(own.sources, sources);
      own.layers.push(...layers);
    }
    return own;
  }
  const styleBelow = () => {
    const { sources, layers } = styleOf(state.then);
    return {
      version: 8,
      sources,
      layers: [
        { id: "ground", type: "background", paint: { "background-color": M.readColour("--ground") } },
        ...layers,
      ],
    };
  };
  function draw() {
    for (const one of [map, below].filter(Boolean)) {
      for (const id of ["age-area", "age-halo"]) {
        one.setFilter(id, filterAges());
      }
      for (const age of AGES) {
        one.setLayoutProperty(`age-${age}`, "visibility", visible(isShown(age)));
      }
      if (!one.getLayer("probability")) {
        continue;
      }
      one.setLayoutProperty("probability", "visibility", visible(state.opacity > 0));
      one.setPaintProperty("probability", "raster-opacity", state.opacity);
    }
  }

  // ---- before and after -------------------------------------------------------------------------
  const handle = make("div", { className: "swipebar", ariaHidden: "true" }, make("i"));
  const slider = make("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 1,
    value: 50,
    ariaLabel: tr("Earlier image on the left, this image on the right"),
  });
  function swipe(share) {
    state.swipe = Math.min(100, Math.max(0, share));
    const left = state.compares ? state.swipe : 0;
    map.getCanvas().style.clipPath = `inset(0 0 0 ${left}%)`;
    handle.style.left = `${left}%`;
    handle.hidden = !state.compares;
    slider.value = state.swipe;
    slider.setAttribute("aria-valuetext", tr("{share} % earlier image", { share: Math.round(state.swipe) }));
  }
  function follow() {
    below?.jumpTo({ center: map.getCenter(), zoom: map.getZoom(), bearing: 0, pitch: 0 });
  }
  function layBelow(view) {
    const under = make("div", { className: "mapbelow", ariaHidden: "true", inert: true });
    view.before(under);
    below = new maplibregl.Map({
      container: under,
      style: styleBelow(),
      center: map.getCenter(),
      zoom: map.getZoom(),
      interactive: false,
      attributionControl: false,
      fadeDuration: 0,
      maxZoom: MAX_ZOOM,
      trackResize: true,
    });
    map.on("move", follow);
    map.on("resize", follow);
    const again = () => below.setStyle(styleBelow(), { diff: false });
    document.addEventListener("themechange", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    view.append(
      handle,
      make("span", { className: "swipedate then", textContent: holder.dataset.beforeTaken }),
      make("span", { className: "swipedate now", textContent: holder.dataset.taken }),
    );
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      event.stopPropagation();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) {
        return;
      }
      const box = view.getBoundingClientRect();
      swipe((100 * (event.clientX - box.left)) / box.width);
    });
    slider.addEventListener("input", () => swipe(Number(slider.value)));
  }

  // ---- below the map ----------------------------------------------------------------------------
  const key = make("ul", { className: "legend mapkey" });
  const chosen = make("div", { className: "mapchosen", role: "status" });
  function explain() {
    const found = new Set(state.landslides.features.map((f) => f.properties.age));
    const items = AGES.filter((age) => found.has(age)).map((age) =>
      make("li", {}, make("i", { className: `kfoot age-${age}` }), names[age]),
    );
    const layer = state.now.probability;
    if (layer) {
      const ramp = make("span", { className: "kramp" });
      layer.colours.forEach((colour) => {
        const part = make("i");
        part.style.background = colour;
        ramp.append(part);
      });
      const threshold = holder.dataset.threshold
        ? `; ${tr("footprints from {threshold} on", { threshold: holder.dataset.threshold })}`
        : "";
      items.push(
        make("li", {}, tr("probability of a landslide (0 to 1):"), ` ${layer.shown_from} `, ramp, ` 1${threshold}`),
      );
    }
    const { of, features } = state.landslides;
    if (of > features.length) {
      items.push(make("li", {}, tr("{shown} of {all} landslides", { shown: features.length, all: of })));
    }
    key.replaceChildren(...items);
  }
  function pick({ point }) {
    const layers = ["age-area"].filter((id) => map.getLayer(id));
    const [hit] = map.queryRenderedFeatures(
      [
        [point.x - 5, point.y - 5],
        [point.x + 5, point.y + 5],
      ],
      { layers },
    );
    if (!hit) {
      chosen.replaceChildren();
      return;
    }
    const p = hit.properties;
    const facts = make("dl", { className: "facts" });
    const lines = [
      [tr("First seen"), day(p.first_seen_at)],
      [tr("Last confirmed"), `${day(p.last_confirmed_at)} (${tr("on {count} images", { count: p.dates })})`],
      [tr("Area"), `${Math.round(p.area_m2).toLocaleString("en")} m²`],
      [tr("Probability"), p.method === "network" ? Number(p.mean_probability).toFixed(2) : "–"],
    ];
    for (const [term, text] of lines) {
      facts.append(make("div", {}, make("dt", { textContent: term }), make("dd", { textContent: text })));
    }
    chosen.replaceChildren(make("b", { textContent: tr("Landslide, {age}", { age: names[p.age] }) }), facts);
  }
  function makeTools() {
    const rows = [];
    if (below) {
      rows.push(make("div", { className: "maprow" }, tr("Earlier"), slider, tr("This image")));
    }
    const fields = make("div", { className: "maprow" });
    const filter = make(
      "select",
      {},
      make("option", { value: "all", textContent: tr("all") }),
      ...AGES.map((age) => make("option", { value: age, textContent: names[age] })),
    );
    filter.addEventListener("change", () => {
      state.shown = filter.value;
      draw();
    });
    fields.append(make("label", {}, tr("Landslides shown"), " ", filter));
    if (state.now.probability) {
      const opacity = make("input", { type: "range", min: 0, max: 100, step: 5, value: 0 });
      opacity.addEventListener("input", () => {
        state.opacity = Number(opacity.value) / 100;
        opacity.setAttribute("aria-valuetext", `${opacity.value} %`);
        draw();
      });
      fields.append(make("label", { className: "grows" }, tr("Opacity of the probability"), " ", opacity));
    }
    return [...rows, fields, key];
  }

  // ---- together ---------------------------------------------------------------------------------
  async function begin() {
    const { ground, landslides, now, then } = await load();
    Object.assign(state, { landslides, now, then });
    if (!boundsOf(now)) {
      throw new Error("the image has no place");
    }
    const [west, south, east, north] = boundsOf(now);
    const frame = make("div", { className: "swipe" });
    const view = make("div", { className: "mapview" });
    frame.append(view);
    document.getElementById("part-map").before(frame);
    try {
      const opened = await M.openMap(view, {
        ground,
        style,
        bounds: [
          [west, south],
          [east, north],
        ],
        margin: 8,
        maxZoom: MAX_ZOOM,
        label: tr("Image of the scene with landslides. The table below says the same of them."),
      });
      ({ map, restyle } = opened);
      if (then) {
        layBelow(view);
        swipe(50);
      }
    } catch (error) {
      // no WebGL after all: the pictures stay
      frame.remove();
      throw error;
    }
    holder.classList.add("is-mapped");
    frame.after(...makeTools(), chosen);
    map.on("click", pick);
    map.getCanvas().addEventListener("webglcontextlost", () => holder.classList.remove("is-mapped"));
    map.getCanvas().addEventListener("webglcontextrestored", () => holder.classList.add("is-mapped"));
    explain();
    window.SlopewardScene = {
      map,
      site,
      scene,
      restyle,
      add(extra) {
        extras.push(extra);
        restyle();
      },
      compare(shown) {
        state.compares = shown && Boolean(below);
        swipe(state.swipe);
      },
    };
    document.dispatchEvent(new CustomEvent("scenemap", { detail: window.SlopewardScene }));
  }
  if (M.canDraw()) {
    M.drawWhenNear(holder, begin);
  }
})();
