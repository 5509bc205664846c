// The stream of changes: server-sent events of monitor/web/change_stream.py.

// The server sends a heartbeat every 10 s. A connection without events for longer is dead, or a proxy holds it back.
const SILENCE_LIMIT_MS = 25_000;
// Waiting times before the stream is opened again after the server or a proxy refused it.
const RETRY_DELAYS_MS = [5_000, 15_000, 60_000];

/**
 * Keep a stream of changes open while the page is visible.
 *
 * @param {string} address of the stream
 * @param {(event: {name: "changed" | "heartbeat", now: string, isFirst: boolean}) => void} onEvent `isFirst`: no event
 *   arrived before. The server sends `changed` at the start of each stream without an event id, whether or not anything
 *   changed since the page was loaded.
 * @returns {{open: () => void, isAlive: () => boolean, checkSilence: () => void}}
 */
export const followChanges = (address, onEvent) => {
  let source = null;
  let lastEventId = "";
  let lastEventMs = 0;
  let hasReceived = false;
  let failures = 0;
  let retryTimer = 0;

  const close = () => {
    clearTimeout(retryTimer);
    source?.close();
    source = null;
    hasReceived = false;
  };

  const retryLater = () => {
    close();
    const delayMs = RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length - 1)];
    failures += 1;
    // Many pages that were refused together do not come back together.
    retryTimer = setTimeout(open, delayMs * (1 + Math.random() / 4));
  };

  const receive = (event) => {
    const isFirst = !lastEventId;
    lastEventId = event.lastEventId || lastEventId;
    lastEventMs = performance.now();
    hasReceived = true;
    failures = 0;
    onEvent({ name: event.type, now: JSON.parse(event.data).now, isFirst });
  };

  const handleError = () => {
    hasReceived = false;
    // After a lost connection the browser connects again by itself. It gives up if the server or a proxy refuses.
    if (source?.readyState === EventSource.CLOSED) {
      retryLater();
    }
  };

  const open = () => {
    close();
    if (document.hidden || !window.EventSource) {
      return;
    }
    const url = new URL(address, location.href);
    if (lastEventId) {
      // A script cannot set the header `Last-Event-ID`.
      url.searchParams.set("last-event-id", lastEventId);
    }
    source = new EventSource(url);
    lastEventMs = performance.now();
    source.addEventListener("changed", receive);
    source.addEventListener("heartbeat", receive);
    source.addEventListener("error", handleError);
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  // A page that comes from the cache of "back" was closed by `pagehide`.
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      open();
    }
  });
  addEventListener("online", open);
  open();

  return {
    /** Open a new stream at once, for example after the server was unreachable. */
    open,
    /** Whether changes arrive by the stream. */
    isAlive: () => hasReceived && performance.now() - lastEventMs < SILENCE_LIMIT_MS,
    /** Replace a stream that is open and has been silent for too long. */
    checkSilence: () => {
      const isSilent = performance.now() - lastEventMs >= SILENCE_LIMIT_MS;
      if (source?.readyState === EventSource.OPEN && isSilent) {
        retryLater();
      }
    },
  };
};
