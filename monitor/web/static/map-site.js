// The map of one site: load its content, react to clicks and keys, show and hide layers, refresh.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const P = window.SlopewardPoints;
  const S = window.SlopewardSiteMap;
  const holder = document.querySelector('[data-map="site"]');
  if (!holder) {
    return;
  }
  const { makeElement } = S;
  const place = holder.closest(".site-map");
  const main = document.getElementById("main");
  const { site } = main.dataset;
  const api = `/api/v1/sites/${site}`;
  const REFRESH_MS = 30_000;
  const POINT_RETRY_MS = 2000;
  const MOST_POINT_RETRIES = 30;
  const CLICK_PX = 10;
  const STATION_ZOOM = 15;
  const MOST_READINGS = 8;
  const MARGIN_DEG = 0.0001;
  const LONE_MARGIN_DEG = 0.0005;
  // Stations at rest are in the first view as well, unless they make it more than this many times as wide.
  const MOST_WIDENING = 1.2;

  const content = {
    stations: M.EMPTY,
    footprints: M.EMPTY,
    points: M.EMPTY,
    zones: M.EMPTY,
    scene: null,
    sceneLayers: null,
    susceptibility: null,
    pointAnswer: null,
    unplaced: [],
  };
  const hidden = new Set();
  const chosen = { station: null, point: null, pointSet: null };
  let scenes = [];
  let map = null;
  let grounds = [];
  let restyle = () => {};
  let stationValues = null;
  let pointRequest = 0;
  let refreshedAt = 0;

  const legend = makeElement("ul", { className: "legend mapkey" });
  const details = makeElement("div", { className: "mapchosen", role: "status" });
  const stationSelect = makeElement("select", { ariaLabel: tr("Station of the map") });
  const setSelect = makeElement("select", { ariaLabel: tr("Set of radar points") });

  const isHidden = (layerId) => [...hidden].some((set) => S.isInSet(set, layerId));

  function setContent(name, data) {
    content[name] = data;
    map?.getSource(name)?.setData(data);
  }

  function showLegend() {
    legend.replaceChildren(...S.listLegendItems(content, hidden, grounds));
  }

  // ---- requests ---------------------------------------------------------------------------------
  async function loadStations() {
    const loaded = S.addMarks(await M.fetchJson(`${api}/stations.geojson`));
    const placed = loaded.features.filter((feature) => feature.geometry);
    content.unplaced = loaded.features
      .filter((feature) => !feature.geometry)
      .map((feature) => feature.properties.station);
    setContent("stations", { ...loaded, features: placed });
  }

  /** Load the newest scene with its footprints. Return whether it is another one than before. */
  async function loadScenes() {
    const hasScenes = "scenes" in main.dataset;
    if (!hasScenes) {
      return false;
    }
    const loaded = await M.fetchJson(`${api}/scenes?limit=200`);
    scenes = loaded
      .filter((scene) => scene.state === "done" && scene.acquired_at !== null)
      .sort((a, b) => Date.parse(b.acquired_at) - Date.parse(a.acquired_at));
    const newest = scenes[0] ?? null;
    if (newest?.scene_hash === content.scene?.scene_hash) {
      return false;
    }
    if (newest === null) {
      Object.assign(content, { scene: null, sceneLayers: null, footprints: M.EMPTY });
      return true;
    }
    const [footprints, sceneLayers] = await Promise.all([
      M.fetchJson(`${api}/scenes/${newest.scene_hash}`),
      M.fetchJson(`${api}/scenes/${newest.scene_hash}/map`),
    ]);
    Object.assign(content, { scene: newest, sceneLayers, footprints });
    return true;
  }

  async function loadPoints() {
    pointRequest += 1;
    const request = pointRequest;
    const box = map.getBounds();
    const edges = [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
    const bbox = edges.map((degrees) => degrees.toFixed(5)).join(",");
    const set = chosen.pointSet ? `&set=${encodeURIComponent(chosen.pointSet)}` : "";
    const loaded = await M.fetchJson(`${api}/points.geojson?bbox=${bbox}${set}`);
    // The reader may have moved the map meanwhile.
    if (request !== pointRequest) {
      return;
    }
    content.pointAnswer = loaded;
    fillSets();
    setContent("points", loaded);
    P.fit(loaded, map);
    showLegend();
  }

  // A server that draws points for other readers refuses at first. A newer request replaces the repetition.
  async function loadPointsWithRetries(retries = MOST_POINT_RETRIES) {
    const hasPoints = "points" in main.dataset;
    if (!hasPoints) {
      return;
    }
    try {
      await loadPoints();
    } catch {
      const request = pointRequest;
      if (retries <= 1) {
        return;
      }
      setTimeout(() => {
        if (request === pointRequest) {
          loadPointsWithRetries(retries - 1);
        }
      }, POINT_RETRY_MS);
    }
  }

  // ---- what the reader chose --------------------------------------------------------------------
  function showDetails(title, rows, links = []) {
    const list = makeElement("dl", { className: "facts" });
    for (const [term, text] of rows) {
      if (text) {
        const termElement = makeElement("dt", { textContent: term });
        const textElement = makeElement("dd", { textContent: text });
        list.append(makeElement("div", {}, termElement, textElement));
      }
    }
    const separated = links.flatMap((link, k) => (k ? [" · ", link] : [link]));
    details.replaceChildren(makeElement("b", { textContent: title }), list, ...separated);
  }

  // An animated movement that is interrupted by a change of the layout ends at another place.
  function moveTo(feature) {
    map.jumpTo({
      center: feature.geometry.coordinates.slice(0, 2),
      zoom: Math.max(map.getZoom(), STATION_ZOOM),
    });
  }

  async function chooseStation(id, { moves = false } = {}) {
    const feature = content.stations.features.find(({ properties }) => properties.station === id);
    if (!feature) {
      return;
    }
    chosen.station = id;
    chosen.point = null;
    stationSelect.value = id;
    if (moves) {
      moveTo(feature);
    }
    const rows = S.describeStation(feature.properties);
    const links = [
      makeElement("a", { href: `?station=${encodeURIComponent(id)}#h-curves`, textContent: tr("chart") }),
      makeElement("a", { href: `#station-${id}`, textContent: tr("in the table") }),
    ];
    showDetails(id, rows, links);
    stationValues ??= M.fetchJson(`${api}/stations`).catch(() => null);
    const station = (await stationValues)?.find((one) => one.id === id);
    if (station && chosen.station === id) {
      const readings = S.describeReadings(station.latest.slice(0, MOST_READINGS));
      showDetails(id, [...rows, ...readings], links);
    }
  }

  async function showSeries(point, set) {
    const query = `set=${encodeURIComponent(set)}&pid=${encodeURIComponent(point)}`;
    const series = await M.fetchJson(`${api}/points/series?${query}`).catch(() => null);
    const isStillChosen = chosen.point === point && content.pointAnswer.set === set;
    const plot = series && isStillChosen ? P.plot(series) : null;
    if (plot) {
      details.append(plot);
    }
  }

  function showPoint(point) {
    const board = document.querySelector(`a[href="/sites/${site}/instruments"]`);
    const links = [];
    if (board) {
      const href = `${board.getAttribute("href")}#points`;
      links.push(makeElement("a", { href, textContent: tr("past and expected motion of this set") }));
    }
    const [title, rows] = P.describe(point, content.pointAnswer);
    showDetails(title, rows, links);
    if (point.point !== undefined) {
      showSeries(point.point, content.pointAnswer.set);
    }
  }

  function findFeatureAt({ x, y }) {
    const box = [
      [x - CLICK_PX, y - CLICK_PX],
      [x + CLICK_PX, y + CLICK_PX],
    ];
    // In the order in which a click prefers them.
    const layerGroups = [
      ["stations"],
      ["points"],
      ["foot-area", ...S.FOOTPRINT_LAYERS],
      ["squares"],
      ["zones-area", "zones-line"],
    ];
    for (const group of layerGroups) {
      const layers = group.filter((id) => map.getLayer(id));
      const [feature] = map.queryRenderedFeatures(box, { layers });
      if (feature) {
        return feature;
      }
    }
    return null;
  }

  function chooseAt(pixel) {
    const feature = findFeatureAt(pixel);
    if (feature?.layer.id === "stations") {
      chooseStation(feature.properties.station);
      return;
    }
    const properties = feature?.properties;
    chosen.station = null;
    chosen.point = properties?.point ?? null;
    stationSelect.value = "";
    if (!properties) {
      details.replaceChildren();
    } else if (properties.point !== undefined || properties.points !== undefined) {
      showPoint(properties);
    } else if (properties.polygon_id !== undefined) {
      showDetails(...S.describeFootprint(properties));
    } else {
      showDetails(...S.describeZone(properties));
    }
  }

  // ---- lists below the map ----------------------------------------------------------------------
  function fillStations() {
    const value = stationSelect.value;
    const options = content.stations.features.map(({ properties: station }) => {
      const level = station.asks > 0 ? `: ${tr(station.asks_name)}` : "";
      return makeElement("option", { value: station.station, textContent: `${station.station}${level}` });
    });
    const none = makeElement("option", { value: "", textContent: tr("choose a station") });
    stationSelect.replaceChildren(none, ...options);
    stationSelect.value = value;
  }

  function fillSets() {
    const sets = Object.keys(content.pointAnswer.sets);
    setSelect.hidden = sets.length < 2;
    if (setSelect.options.length !== sets.length) {
      const options = sets.map((set) => makeElement("option", { value: set, textContent: set }));
      setSelect.replaceChildren(...options);
    }
    setSelect.value = content.pointAnswer.set ?? "";
  }

  function listLayerNames() {
    const names = { labels: tr("Names"), arrows: tr("Movement") };
    if (content.zones.features.length) {
      names.zones = tr("Zones");
    }
    if (scenes.some((scene) => scene.bounds)) {
      names.scene = tr("Image");
    }
    if (content.susceptibility) {
      names.susceptibility = tr("Susceptibility");
    }
    if (scenes.length) {
      names.footprints = tr("Footprints");
    }
    if (setSelect.options.length) {
      names.points = tr("Radar points");
    }
    if (grounds.length) {
      names.ground = tr("Ground");
    }
    return names;
  }

  function setVisible(set, isVisible) {
    if (isVisible) {
      hidden.delete(set);
    } else {
      hidden.add(set);
    }
    for (const { id } of map.getStyle().layers) {
      if (S.isInSet(set, id)) {
        map.setLayoutProperty(id, "visibility", isVisible ? "visible" : "none");
      }
    }
    showLegend();
  }

  function makeLayerSwitches() {
    const title = makeElement("legend", { textContent: tr("Shown") });
    const fields = makeElement("fieldset", { className: "maplayers" }, title);
    for (const [set, name] of Object.entries(listLayerNames())) {
      const box = makeElement("input", { type: "checkbox", checked: !hidden.has(set) });
      box.addEventListener("change", () => setVisible(set, box.checked));
      fields.append(makeElement("label", {}, box, " ", name));
    }
    const summary = makeElement("summary", { textContent: tr("Layers") });
    return makeElement("details", { className: "maptools" }, summary, fields, setSelect);
  }

  // ---- first view -------------------------------------------------------------------------------
  function boundPlaces(places) {
    const longitudes = places.map((place) => place[0]);
    const latitudes = places.map((place) => place[1]);
    const margin = places.length > 1 ? MARGIN_DEG : LONE_MARGIN_DEG;
    return [
      [Math.min(...longitudes) - margin, Math.min(...latitudes) - margin],
      [Math.max(...longitudes) + margin, Math.max(...latitudes) + margin],
    ];
  }

  function listFootprintPlaces() {
    return content.footprints.features.flatMap(({ geometry }) =>
      geometry.coordinates.flat(geometry.type === "MultiPolygon" ? 2 : 1),
    );
  }

  const sizeOf = ([[west, south], [east, north]]) => Math.max(east - west, north - south);

  // Controls and gauges that are far away would shrink the moving stations to a dot.
  function findBounds() {
    const stations = content.stations.features;
    const active = stations.filter(
      ({ properties }) => properties.on_slope && (properties.moved_at !== null || properties.asks > 0),
    );
    const placesOf = (features) => features.map((feature) => feature.geometry.coordinates);
    if (!stations.length) {
      const footprints = listFootprintPlaces();
      return boundPlaces(footprints.length ? footprints : [holder.dataset.place.split(",").map(Number)]);
    }
    const all = boundPlaces(placesOf(stations));
    if (active.length < 2) {
      return all;
    }
    const ofActive = boundPlaces(placesOf(active));
    return sizeOf(all) <= MOST_WIDENING * sizeOf(ofActive) ? all : ofActive;
  }

  // ---- together ---------------------------------------------------------------------------------
  async function loadContent() {
    const [ground] = await Promise.all([
      M.fetchOfMaps(`${api}/map`),
      loadStations(),
      M.fetchOfMaps(`${api}/zones.geojson`, M.EMPTY).then((zones) => {
        content.zones = zones;
      }),
      loadScenes(),
    ]);
    content.susceptibility = ground.susceptibility;
    // Susceptibility does not depend on time, so it is shown on request only.
    hidden.add("susceptibility");
    if (ground.relief || ground.tiles.length) {
      // The image would cover the ground.
      hidden.add("scene");
    }
    return ground;
  }

  async function openMap(ground) {
    const view = makeElement("div", { className: "mapview" });
    document.getElementById("part-map").before(view);
    try {
      const opened = await M.openMap(view, {
        ground,
        bounds: findBounds(),
        label: tr("Map of the site. The table of stations contains the same. Enter describes the mark in the middle."),
        style: () => S.makeStyle(content, api),
        isHidden,
      });
      ({ map, grounds, restyle } = opened);
    } catch (error) {
      view.remove();
      place.classList.add("cannot-draw");
      throw error;
    }
    place.classList.remove("cannot-draw");
    holder.classList.add("is-mapped");
    return view;
  }

  function bindMap(view) {
    const canvas = map.getCanvas();
    map.on("click", (event) => chooseAt(event.point));
    map.on("moveend", () => loadPointsWithRetries());
    M.showPointer(map, ["stations", "points", "squares"]);
    view.append(makeElement("span", { className: "mapcross" }));
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        chooseAt(map.project(map.getCenter()));
      }
    });
    canvas.addEventListener("webglcontextlost", () => holder.classList.remove("is-mapped"));
    canvas.addEventListener("webglcontextrestored", () => holder.classList.add("is-mapped"));
    stationSelect.addEventListener("change", () => {
      if (stationSelect.value) {
        chooseStation(stationSelect.value, { moves: true });
      }
    });
    setSelect.addEventListener("change", () => {
      chosen.pointSet = setSelect.value;
      loadPointsWithRetries();
    });
  }

  // A change on the server is shown at once, and otherwise the map is loaded again from time to time.
  async function refresh(event) {
    const isDue = performance.now() - refreshedAt >= REFRESH_MS;
    if (!event.detail?.hasChanged && !isDue) {
      return;
    }
    refreshedAt = performance.now();
    stationValues = null;
    await loadStations().catch(() => {});
    const hasNewScene = await loadScenes().catch(() => false);
    if (hasNewScene) {
      setContent("footprints", content.footprints);
      restyle();
    }
    fillStations();
    showLegend();
  }

  async function draw() {
    const ground = await loadContent();
    const view = await openMap(ground);
    fillStations();
    const firstBounds = String(map.getBounds());
    await loadPointsWithRetries();
    const row = makeElement("div", { className: "maprow" }, stationSelect, makeLayerSwitches());
    view.after(legend, row, details);
    bindMap(view);
    const hasMoved = String(map.getBounds()) !== firstBounds;
    if (hasMoved) {
      loadPointsWithRetries();
    }
    showLegend();
    refreshedAt = performance.now();
    document.addEventListener("refreshed", refresh);
  }

  if (M.canDraw()) {
    M.drawWhenNear(holder, draw);
  } else {
    place.classList.add("cannot-draw");
  }
})();
