// Keep the page current. The stream of changes causes a refresh at once; without a stream the page is refreshed every
// 10 s. Ages grow every second, and a banner appears if nothing arrives for 30 s.

import { updateAges } from "./ages.js";
import { updateHeaderClock } from "./header-clock.js";
import { canRefresh, computePartsAge, hasUnshownChange, refreshPage } from "./refresh.js";
import { computeServerTime, isSavedCopy, recordServerTime } from "./server-clock.js";
import { updateStaleBanner } from "./stale-page.js";
import { followChanges } from "./stream.js";

const POLL_INTERVAL_MS = 10_000;
// Some parts depend on the time alone, such as "late". They are refreshed although nothing changed.
const REFRESH_INTERVAL_WITH_STREAM_MS = 30_000;
// After these 30 s a poll follows within 10 s, and it may take 8 s.
const LONGEST_REFRESH_GAP_MS = 50_000;
const TICK_MS = 1000;

const updateTimes = () => {
  const nowMs = computeServerTime();
  updateAges(nowMs);
  updateHeaderClock(nowMs);
  updateStaleBanner();
};

const refresh = async (options) => {
  const isRefreshed = await refreshPage(options);
  updateTimes();
  return isRefreshed;
};

const handleEvent = ({ name, now, isFirst }) => {
  if (name === "changed") {
    refresh({ hasChanged: !isFirst });
    return;
  }
  // A heartbeat proves that nothing changed since the page showed the last change. It does not cover refreshes that
  // fail, which the banner must report.
  if (!hasUnshownChange() && computePartsAge() < LONGEST_REFRESH_GAP_MS) {
    recordServerTime(now);
  }
};

const startRefreshing = () => {
  const { changes } = document.getElementById("main").dataset;
  // A saved copy is reloaded as soon as the server answers a poll.
  const stream = changes && !isSavedCopy ? followChanges(changes, handleEvent) : null;
  let isUnreachable = false;
  const poll = async () => {
    stream?.checkSilence();
    const isCurrent = !hasUnshownChange() && computePartsAge() < REFRESH_INTERVAL_WITH_STREAM_MS;
    if (document.hidden || (stream?.isAlive() && isCurrent)) {
      return;
    }
    const isRefreshed = await refresh();
    if (isRefreshed && isUnreachable) {
      stream?.open();
    }
    isUnreachable = !isRefreshed;
  };
  setInterval(poll, POLL_INTERVAL_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      refresh();
    }
  });
};

setInterval(updateTimes, TICK_MS);
updateTimes();
if (canRefresh) {
  startRefreshing();
}
