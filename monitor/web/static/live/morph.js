// Replace the content of an element by changing only what differs, so that focus, scroll position, selection, typed
// text and the state of details stay.

// Whether details are open is the choice of the reader. The server sends their state at the first load of the page.
const READER_ATTRIBUTE = "open";

/** Change the attributes of an element to those of another one. */
const morphAttributes = (current, target) => {
  for (const { name, value } of [...target.attributes]) {
    if (name !== READER_ATTRIBUTE && current.getAttribute(name) !== value) {
      current.setAttribute(name, value);
    }
  }
  for (const { name } of [...current.attributes]) {
    if (name !== READER_ATTRIBUTE && !target.hasAttribute(name)) {
      current.removeAttribute(name);
    }
  }
};

/** Remove the children that have an id and are gone in the target. */
const removeMissingChildren = (current, target) => {
  const remainingIds = new Set([...target.children].map((child) => child.id).filter(Boolean));
  for (const child of [...current.children]) {
    if (child.id && !remainingIds.has(child.id)) {
      child.remove();
    }
  }
};

/**
 * Change the children of an element to those of another one. A child is identified by its id, if it has one. If it is at
 * another position in the target, it moves there with everything that the reader typed or chose in it.
 */
const morphChildren = (current, target) => {
  removeMissingChildren(current, target);
  const childrenById = new Map([...current.children].filter((child) => child.id).map((child) => [child.id, child]));
  [...target.childNodes].forEach((targetChild, index) => {
    const childAtIndex = current.childNodes[index];
    const unnamedChild = childAtIndex?.id ? undefined : childAtIndex;
    const child = targetChild.id ? childrenById.get(targetChild.id) : unnamedChild;
    if (!child) {
      current.insertBefore(targetChild.cloneNode(true), childAtIndex ?? null);
      return;
    }
    if (child !== childAtIndex) {
      current.insertBefore(child, childAtIndex ?? null);
    }
    morph(child, targetChild);
  });
  while (current.childNodes.length > target.childNodes.length) {
    current.lastChild.remove();
  }
};

/** Change a node to equal another one. @param {Node} current @param {Node} target */
export const morph = (current, target) => {
  if (current.isEqualNode(target)) {
    return;
  }
  if (current.nodeType !== target.nodeType || current.nodeName !== target.nodeName) {
    current.replaceWith(target.cloneNode(true));
    return;
  }
  if (current.nodeType !== Node.ELEMENT_NODE) {
    current.nodeValue = target.nodeValue;
    return;
  }
  morphAttributes(current, target);
  morphChildren(current, target);
};
