"""Access to the page: who may request which address, and limits on connections and requests."""
