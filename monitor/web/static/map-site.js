// The map of one site: stations by the level they ask for, movement, footprints, radar points, zones.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const P = window.SlopewardPoints;
  const holder = document.querySelector('[data-map="site"]');
  if (!holder) {
    return;
  }
  const main = document.getElementById("main");
  const site = main.dataset.site;
  const api = `/api/v1/sites/${site}`;
  const zone = main.dataset.zone || "UTC";
  const REFRESH_MS = 30_000;
  const CHANGES = ["new", "grown", "known", "single", "vanished", "withdrawn"];
  const SETS = {
    // what a person may hide, each with its layers
    labels: ["station-names", "station-asks"],
    arrows: ["arrows"],
    footprints: ["foot-area", "foot-halo", ...CHANGES.map((k) => `foot-${k}`)],
    scene: ["scene"],
    susceptibility: ["susceptibility"],
    points: ["points", "squares"],
    zones: ["zones-area", "zones-line"],
  };
  const state = {
    stations: M.NOTHING,
    footprints: M.NOTHING,
    points: M.NOTHING,
    zones: M.NOTHING,
    scenes: [],
    scene: null,
    layers: null,
    hidden: new Set(),
    susceptibility: null,
    set: null,
    picked: null,
    point: null,
    unplaced: [],
  };
  let map = null;
  let grounds = [];
  let values = null;
  let newest = 0;

  const make = (tag, attributes = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  };
  const show = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());
  // 2026-03-01 07:00
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
  const spell = (instant) => clock.format(new Date(instant)) + (zone === "UTC" ? " UTC" : "");
  const names = {
    new: tr("new"),
    grown: tr("grown"),
    known: tr("known"),
    single: tr("of one date: advice"),
    vanished: tr("vanished"),
    withdrawn: tr("withdrawn"),
  };

  // ---- what is drawn ----------------------------------------------------------------------------
  // 0.1 mm/day is the shortest arrow; each factor of ten adds as much again
  const lengthOf = (speed) =>
    Math.round(Math.min(76, Math.max(16, 16 + 15 * Math.log10(Math.abs(speed) / 0.1))) / 2) * 2;
  function dress(found) {
    for (const { properties: p } of found.features) {
      const asked = p.asks > 0;
      const kind = p.on_slope ? "slope" : "control";
      const colour = asked ? M.levelClass(p.asks_name, p.asks, p.top_level) : p.state !== null ? "0" : "u";
      p.mark = `station|${kind}|${colour}|${p.state !== "ok" ? "bad" : ""}`;
      p.label = asked ? `${p.station}\n${tr(p.asks_name)}` : p.station;
      p.order = -p.asks;
      p.arrow = p.heading_deg === null || p.heading_deg === undefined ? "" : `arrow|${lengthOf(p.velocity_mm_per_day)}`;
    }
    state.unplaced = found.features.filter((f) => !f.geometry).map((f) => f.properties.station);
    found.features = found.features.filter((f) => f.geometry);
    return found;
  }
  function style() {
    const text = M.css("--text");
    const halo = M.css("--ground");
    const danger = M.css("--lv-3");
    const advice = M.css("--advice");
    const muted = M.css("--muted");
    const sources = Object.fromEntries(
      ["stations", "footprints", "points", "zones"].map((name) => [name, { type: "geojson", data: state[name] }]),
    );
    const layers = [];
    const corners = (box) => [
      [box[0], box[3]],
      [box[2], box[3]],
      [box[2], box[1]],
      [box[0], box[1]],
    ];
    if (state.susceptibility) {
      sources.susceptibility = {
        type: "image",
        url: state.susceptibility.url,
        coordinates: corners(state.susceptibility.bounds),
      };
      layers.push({
        id: "susceptibility",
        type: "raster",
        source: "susceptibility",
        paint: { "raster-opacity": 0.7, "raster-fade-duration": 0 },
      });
    }
    const box = state.scene?.bounds;
    if (box) {
      sources.scene = M.tiled(state.layers?.tiles) ?? {
        type: "image",
        url: `${api}/scenes/${state.scene.scene_hash}/preview.png`,
        coordinates: corners(box),
      };
      layers.push({
        id: "scene",
        type: "raster",
        source: "scene",
        paint: { "raster-opacity": 0.7, "raster-fade-duration": 0 },
      });
    }
    const names = {
      type: "symbol",
      source: "stations",
      paint: { "text-color": text, "text-halo-color": halo, "text-halo-width": 2 },
      layout: { "text-field": ["get", "label"], "symbol-sort-key": ["get", "order"] },
    };
    const lines = {
      new: [danger, [1]],
      grown: [danger, [1]],
      known: [danger, [3, 2]],
      single: [advice, [1]],
      vanished: [muted, [1, 2]],
      withdrawn: [muted, [1, 2]],
    };
    layers.push(
      {
        id: "zones-area",
        type: "fill",
        source: "zones",
        filter: ["in", ["get", "kind"], ["literal", ["area", "exposed", "velocity"]]],
        paint: {
          "fill-color": ["match", ["get", "kind"], "exposed", danger, "velocity", advice, text],
          "fill-opacity": ["match", ["get", "kind"], "exposed", 0.12, 0.05],
        },
      },
      {
        id: "zones-line",
        type: "line",
        source: "zones",
        paint: {
          "line-color": ["match", ["get", "kind"], "velocity", advice, text],
          "line-opacity": ["match", ["get", "kind"], "velocity", 1, 0.6],
          "line-width": ["match", ["get", "kind"], "velocity", 2.4, 1.2],
          "line-dasharray": [2, 3],
        },
      },
      P.squareLayer(),
      {
        id: "foot-area",
        type: "fill",
        source: "footprints",
        filter: ["in", ["get", "change"], ["literal", ["new", "grown", "single"]]],
        paint: { "fill-color": ["match", ["get", "change"], "single", advice, danger], "fill-opacity": 0.22 },
      },
      {
        id: "foot-halo",
        type: "line",
        source: "footprints",
        paint: { "line-color": M.css("--panel"), "line-width": 5 },
      },
      ...CHANGES.map((change) => ({
        id: `foot-${change}`,
        type: "line",
        source: "footprints",
        filter: ["==", ["get", "change"], change],
        paint: {
          "line-color": lines[change][0],
          "line-width": 2.4,
          ...(lines[change][1].length > 1 ? { "line-dasharray": lines[change][1] } : {}),
        },
      })),
      P.pointLayer(),
      {
        id: "arrows",
        type: "symbol",
        source: "stations",
        filter: ["!=", ["get", "arrow"], ""],
        layout: {
          "icon-image": ["get", "arrow"],
          "icon-rotate": ["get", "heading_deg"],
          "icon-anchor": "bottom",
          "icon-rotation-alignment": "map",
          "icon-allow-overlap": true,
          "icon-ignore-placement": true,
        },
      },
      // names cover no mark and no other name; those of stations that ask for a level are placed
      // first, the highest before
      {
        ...names,
        id: "station-names",
        filter: ["==", ["get", "asks"], 0],
        layout: { ...names.layout, ...M.names(1.25) },
      },
      { ...names, id: "station-asks", filter: [">", ["get", "asks"], 0], layout: { ...names.layout, ...M.names(1.5) } },
      {
        id: "stations",
        type: "symbol",
        source: "stations",
        layout: {
          "icon-image": ["get", "mark"],
          "icon-allow-overlap": true,
          "icon-ignore-placement": false,
          "symbol-sort-key": ["-", 0, ["get", "order"]],
        },
      },
    );
    return { sources, layers };
  }
  const isOf = (set, id) => (set === "ground" ? id.startsWith("ground:") : SETS[set].includes(id));
  const hides = (id) => [...state.hidden].some((set) => isOf(set, id));
  const put = (name, data) => {
    state[name] = data;
    map?.getSource(name)?.setData(data);
  };

  // ---- what is asked of the server --------------------------------------------------------------
  const loadStations = async () => put("stations", dress(await M.load(`${api}/stations.geojson`)));
  async function loadScene() {
    const shown = state.scenes[0] ?? null;
    if (shown?.scene_hash === state.scene?.scene_hash) {
      return false;
    }
    const asks =
      shown === null
        ? [M.NOTHING, null]
        : [M.load(`${api}/scenes/${shown.scene_hash}`), M.load(`${api}/scenes/${shown.scene_hash}/map`)];
    const [footprints, layers] = await Promise.all(asks);
    state.scene = shown;
    state.layers = layers;
    state.footprints = footprints;
    return true;
  }
  async function loadScenes() {
    if (!("scenes" in main.dataset)) {
      return false;
    } // a service without the feature
    const found = await M.load(`${api}/scenes?limit=200`);
    state.scenes = found
      .filter((scene) => scene.state === "done" && scene.acquired_at !== null)
      .sort((a, b) => Date.parse(b.acquired_at) - Date.parse(a.acquired_at));
    return loadScene();
  }
  let pointsAsked = 0;
  async function loadPoints() {
    const turn = ++pointsAsked;
    const b = map.getBounds();
    const box = [b.getWest(), b.getSouth(), b.getEast(), b.getNorth()].map((x) => x.toFixed(5)).join(",");
    const found = await M.load(
      `${api}/points.geojson?bbox=${box}${state.set ? `&set=${encodeURIComponent(state.set)}` : ""}`,
    );
    if (turn !== pointsAsked) {
      return;
    } // another view was asked for meanwhile
    state.pointsSaid = found;
    fillSets();
    put("points", found);
    P.fit(found, map);
    explain();
  }

  // a server that draws for others says so; what is asked anew meanwhile goes first
  async function keepPoints(tries = 30) {
    if (!("points" in main.dataset)) {
      return;
    } // the feature is absent
    try {
      await loadPoints();
    } catch {
      const turn = pointsAsked;
      if (tries > 1) {
        setTimeout(() => {
          if (turn === pointsAsked) {
            keepPoints(tries - 1);
          }
        }, 2000);
      }
    }
  }

  // ---- below the map: layers, key, what was chosen ----------------------------------------------
  const key = make("ul", { className: "legend mapkey" });
  const chosen = make("div", { className: "mapchosen", role: "status" });
  const swatch = (css, text) => {
    const mark = make("i", { className: "k" });
    Object.assign(mark.style, css);
    return make("li", {}, mark, text);
  };
  const image = (id) => {
    const mark = make("i", { className: `kshape ${id}` });
    return mark;
  };
  function explain() {
    const items = [];
    const asked = new Map(
      state.stations.features.filter((f) => f.properties.asks > 0).map(({ properties: p }) => [p.asks, p]),
    );
    for (const [, p] of [...asked].sort((x, y) => y[0] - x[0])) {
      items.push(
        make(
          "li",
          {},
          image(`lv-${M.levelClass(p.asks_name, p.asks, p.top_level)}`),
          tr("asks for {level}", { level: tr(p.asks_name) }),
        ),
      );
    }
    items.push(make("li", {}, make("i", { className: "k ok" }), tr("station")));
    items.push(make("li", {}, make("i", { className: "k bad" }), tr("sick or silent")));
    if (state.stations.features.some((f) => !f.properties.on_slope)) {
      items.push(make("li", {}, make("i", { className: "k control" }), tr("control")));
    }
    if (state.stations.features.some((f) => f.properties.arrow)) {
      items.push(
        make(
          "li",
          {},
          make("i", { className: "karrow", textContent: "↗" }),
          tr("movement; the length grows with the logarithm of the velocity"),
        ),
      );
    }
    for (const change of CHANGES.filter((k) => state.footprints.features.some((f) => f.properties.change === k))) {
      const box = make("i", { className: `kfoot ${change}` });
      items.push(make("li", {}, box, tr("footprint, {change}", { change: names[change] })));
    }
    const below = state.susceptibility;
    if (below && !state.hidden.has("susceptibility")) {
      const ramp = make("span", { className: "kramp" });
      below.classes.forEach(({ colour }) => {
        const part = make("i");
        part.style.background = colour;
        ramp.append(part);
      });
      items.push(
        make(
          "li",
          {},
          tr("susceptibility (where, not when):"),
          " ",
          tr("very low"),
          " ",
          ramp,
          " ",
          tr("very high"),
          below.made_on ? `, ${tr("map of {day}", { day: below.made_on })}` : "",
        ),
      );
      if (below.made_on) {
        items.push(make("li", {}, tr("hatched: unlike the ground of the training")));
      }
    }
    if (state.zones.features.some((f) => f.properties.kind === "velocity") && !state.hidden.has("zones")) {
      items.push(
        swatch(
          { border: `2px dashed ${M.css("--advice")}`, borderRadius: "2px" },
          tr("moving zone of a map of velocities: advice"),
        ),
      );
    }
    if (!state.hidden.has("points")) {
      items.push(...P.explain(state.pointsSaid));
    }
    if (state.unplaced.length) {
      items.push(make("li", {}, tr("without a place: {names}", { names: state.unplaced.join(", ") })));
    }
    for (const ground of grounds.filter((g) => g.by)) {
      items.push(make("li", {}, `${ground.name}: ${ground.by}`));
    }
    key.replaceChildren(...items);
  }

  function tell(title, lines, links = []) {
    const list = make("dl", { className: "facts" });
    for (const [term, text] of lines) {
      if (text) {
        list.append(make("div", {}, make("dt", { textContent: term }), make("dd", { textContent: text })));
      }
    }
    chosen.replaceChildren(
      make("b", { textContent: title }),
      list,
      ...links.flatMap((link, k) => (k ? [" · ", link] : [link])),
    );
  }
  async function pickStation(id, move = false) {
    const feature = state.stations.features.find((f) => f.properties.station === id);
    if (!feature) {
      return;
    }
    state.picked = id;
    state.point = null;
    if (stationList.value !== id) {
      stationList.value = id;
    }
    if (move) {
      map.easeTo({
        center: feature.geometry.coordinates.slice(0, 2),
        zoom: Math.max(map.getZoom(), 15),
        duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 400,
      });
    }
    const p = feature.properties;
    const lines = [
      [tr("Level"), p.asks > 0 ? tr("asks for {level}", { level: tr(p.asks_name) }) : tr("asks for no level")],
      [tr("State"), [tr(p.state ?? "unknown"), p.reason].filter(Boolean).join(": ")],
      [
        tr("Velocity"),
        p.velocity_mm_per_day === null
          ? ""
          : `${show(p.velocity_mm_per_day)} ± ${show(p.velocity_error_mm_per_day)} mm/day`,
      ],
      [
        tr("Direction"),
        p.heading_deg === null
          ? ""
          : `${Math.round(p.heading_deg)}° (${p.heading_from === "readings" ? tr("from east and north") : tr("azimuth of the site file")})`,
      ],
    ];
    const chart = make("a", { href: `?station=${encodeURIComponent(id)}#h-curves`, textContent: tr("chart") });
    const row = make("a", { href: `#station-${id}`, textContent: tr("in the table") });
    tell(id, lines, [chart, row]);
    values ??= M.load(`${api}/stations`).catch(() => null);
    const station = (await values)?.find((one) => one.id === id);
    if (station && state.picked === id) {
      tell(
        id,
        [
          ...lines,
          ...station.latest
            .slice(0, 8)
            .map((row) => [
              tr(row.quantity.replaceAll("_", " ")),
              `${show(row.value, row.unit)} ${row.unit}, ${spell(row.observed_at)}`,
            ]),
        ],
        [chart, row],
      );
    }
  }
  async function showSeries(point, set) {
    const found = await M.load(
      `${api}/points/series?set=${encodeURIComponent(set)}&pid=${encodeURIComponent(point)}`,
    ).catch(() => null);
    const picture = found && state.point === point && state.pointsSaid.set === set ? P.plot(found) : null;
    if (picture) {
      chosen.append(picture);
    }
  }
  function pick({ point: { x, y } }) {
    const near = (layers) =>
      map.queryRenderedFeatures(
        [
          [x - 10, y - 10],
          [x + 10, y + 10],
        ],
        { layers: layers.filter((id) => map.getLayer(id)) },
      );
    const [station] = near(["stations"]);
    if (station) {
      pickStation(station.properties.station);
      return;
    }
    const p = (
      near(["points"])[0] ??
      near(["foot-area", ...CHANGES.map((k) => `foot-${k}`)])[0] ??
      near(["squares"])[0] ??
      near(["zones-area", "zones-line"])[0]
    )?.properties;
    state.picked = null;
    state.point = p?.point ?? null;
    stationList.value = "";
    if (!p) {
      chosen.replaceChildren();
      return;
    }
    if (p.point !== undefined || p.points !== undefined) {
      const board = document.querySelector(`a[href="/sites/${site}/instruments"]`);
      tell(
        ...P.describe(p, state.pointsSaid),
        board
          ? [
              make("a", {
                href: `${board.getAttribute("href")}#points`,
                textContent: tr("what this set did and will do"),
              }),
            ]
          : [],
      );
      if (p.point !== undefined) {
        showSeries(p.point, state.pointsSaid.set);
      }
    } else if (p.polygon_id !== undefined) {
      tell(tr("Footprint {name}", { name: p.polygon_id }), [
        [tr("Change"), names[p.change]],
        [tr("Area"), `${Math.round(p.area_m2)} m²`],
        [tr("Probability"), show(p.method === "network" ? p.mean_probability : null)],
        [
          tr("Susceptibility"),
          p.susceptibility === undefined || p.susceptibility === null ? "" : show(p.susceptibility),
        ],
        [tr("Nearest station"), p.nearest_station ? `${p.nearest_station}, ${Math.round(p.distance_m)} m` : ""],
      ]);
    } else if (p.kind === "velocity") {
      tell(tr("Moving zone of {name}", { name: p.name }), [
        [tr("Mean"), `${show(p.mean_mm_per_year)} ${tr("mm/year")}`],
        [tr("Slower than (95 %)"), `${show(p.p95_mm_per_year)} ${tr("mm/year")}`],
        [tr("Error"), `${show(p.sigma_mm_per_year)} ${tr("mm/year")}`],
        [tr("Area"), `${Math.round(p.area_m2)} m²`],
        [tr("Until"), spell(p.until)],
      ]);
    } else {
      tell(
        p.kind === "exposed"
          ? tr("In danger: {name}", { name: p.name })
          : p.kind === "area"
            ? tr("Area {name}", { name: p.name })
            : tr("Radar zone of {name}: {radius} m", { name: p.name, radius: Math.round(p.radius_m) }),
        [],
      );
    }
  }

  const stationList = make("select", { ariaLabel: tr("Station of the map") });
  stationList.addEventListener("change", () => stationList.value && pickStation(stationList.value, true));
  function fillList() {
    const chosenNow = stationList.value;
    stationList.replaceChildren(
      make("option", { value: "", textContent: tr("choose a station") }),
      ...state.stations.features.map(({ properties: p }) =>
        make("option", { value: p.station, textContent: p.asks > 0 ? `${p.station}: ${tr(p.asks_name)}` : p.station }),
      ),
    );
    stationList.value = chosenNow;
  }
  const setList = make("select", { ariaLabel: tr("Set of radar points") });
  setList.addEventListener("change", () => {
    state.set = setList.value;
    keepPoints();
  });
  function fillSets() {
    const names = Object.keys(state.pointsSaid.sets);
    setList.hidden = names.length < 2;
    if (setList.options.length !== names.length) {
      setList.replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
    }
    setList.value = state.pointsSaid.set ?? "";
  }
  function makeLayers() {
    const told = {
      labels: tr("Names"),
      arrows: tr("Movement"),
      zones: state.zones.features.length && tr("Zones"),
      scene: state.scenes.some((s) => s.bounds) && tr("Image"),
      susceptibility: state.susceptibility && tr("Susceptibility"),
      footprints: state.scenes.length && tr("Footprints"),
      points: setList.options.length && tr("Radar points"),
      ground: grounds.length && tr("Ground"),
    };
    const fields = make("fieldset", { className: "maplayers" }, make("legend", { textContent: tr("Shown") }));
    for (const name of Object.keys(told).filter((k) => told[k])) {
      const box = make("input", { type: "checkbox", checked: !state.hidden.has(name) });
      box.addEventListener("change", () => {
        if (box.checked) {
          state.hidden.delete(name);
        } else {
          state.hidden.add(name);
        }
        for (const { id } of map.getStyle().layers) {
          if (isOf(name, id)) {
            map.setLayoutProperty(id, "visibility", box.checked ? "visible" : "none");
          }
        }
        explain();
      });
      fields.append(make("label", {}, box, " ", told[name]));
    }
    return make("details", { className: "maptools" }, make("summary", { textContent: tr("Layers") }), fields, setList);
  }

  // ---- together ---------------------------------------------------------------------------------
  let restyle = () => {};
  function boundsOf() {
    // what moves or asks for a level; controls and gauges far away would shrink it to a dot
    const busy = state.stations.features.filter(
      ({ properties: p }) => p.on_slope && (p.moved_at !== null || p.asks > 0),
    );
    let places = (busy.length > 1 ? busy : state.stations.features).map((f) => f.geometry.coordinates);
    if (!places.length) {
      places = state.footprints.features.flatMap((f) =>
        f.geometry.coordinates.flat(f.geometry.type === "MultiPolygon" ? 2 : 1),
      );
    }
    if (!places.length) {
      places = [holder.dataset.place.split(",").map(Number)];
    }
    const lons = places.map((p) => p[0]);
    const lats = places.map((p) => p[1]);
    const pad = 0.0005;
    return [
      [Math.min(...lons) - pad, Math.min(...lats) - pad],
      [Math.max(...lons) + pad, Math.max(...lats) + pad],
    ];
  }
  async function begin() {
    const [ground] = await Promise.all([
      M.loadMap(`${api}/map`),
      loadStations(),
      M.loadMap(`${api}/zones.geojson`, M.NOTHING).then((found) => {
        state.zones = found;
      }),
      loadScenes(),
    ]);
    state.susceptibility = ground.susceptibility;
    state.hidden.add("susceptibility"); // it has no time in it: whoever wants it ticks it
    if (ground.relief || ground.tiles.length) {
      state.hidden.add("scene");
    } // an image would bury the ground; it is a tick away
    const view = make("div", { className: "mapview" });
    const note = document.getElementById("part-map");
    note.before(view);
    try {
      const opened = await M.open(view, {
        ground,
        bounds: boundsOf(),
        about: tr(
          "Map of the site. What it shows of stations stands in the table of stations too. Enter shows what lies in the middle.",
        ),
        style,
        hides,
      });
      ({ map, grounds, restyle } = opened);
    } catch (error) {
      // no WebGL after all: the note stays
      view.remove();
      throw error;
    }
    holder.classList.add("is-mapped");
    fillList();
    const begun = String(map.getBounds());
    await keepPoints();
    view.after(key, make("div", { className: "maprow" }, stationList, makeLayers()), chosen);
    map.on("click", pick);
    view.append(make("span", { className: "mapcross" }));
    map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        pick({ point: map.project(map.getCenter()) });
      }
    });
    for (const layer of ["stations", "points", "squares"]) {
      map.on("mouseenter", layer, () => {
        map.getCanvas().style.cursor = "pointer";
      });
      map.on("mouseleave", layer, () => {
        map.getCanvas().style.cursor = "";
      });
    }
    map.on("moveend", () => keepPoints());
    if (String(map.getBounds()) !== begun) {
      keepPoints();
    } // moved on before the first points were there
    map.getCanvas().addEventListener("webglcontextlost", () => holder.classList.remove("is-mapped"));
    map.getCanvas().addEventListener("webglcontextrestored", () => holder.classList.add("is-mapped"));
    explain();
    newest = performance.now();
    document.addEventListener("refreshed", async () => {
      if (performance.now() - newest < REFRESH_MS) {
        return;
      }
      newest = performance.now();
      values = null;
      await loadStations().catch(() => {});
      if (await loadScenes().catch(() => false)) {
        put("footprints", state.footprints);
        restyle();
      }
      fillList();
      explain();
    });
  }
  if (M.canDraw()) {
    M.start(holder, begin);
  } else {
    holder.closest(".site-map").classList.add("cannot-draw");
  }
})();
