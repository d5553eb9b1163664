"use strict";
// Keeps the page as the server would render it now. Without this script it is a snapshot.
(() => {
  const find = (id) => document.getElementById(id);
  const lists = { now: find("now"), lately: find("lately") };
  const kept = Number(lists.lately.dataset.kept);

  // Changes nodes in place, so that an opened list of layers, a selection and the focus stay as they are.
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
    } else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      }
      for (const { name } of [...old.attributes]) {
        if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
      }
      const before = [...old.childNodes];
      const after = [...fresh.childNodes];
      after.forEach((node, i) => (i < before.length ? morph(before[i], node) : old.append(node)));
      before.slice(after.length).forEach((node) => node.remove());
    }
  }

  function localise(root) {
    for (const time of root.querySelectorAll("time")) {
      time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    }
  }

  function parsed(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;  // the server escaped all text in it, and the policy allows no other script
    localise(holder.content);
    return holder.content.firstElementChild;
  }

  function show(news, whole) {
    const announced = [];
    // The newest comes first: each is put on top, beginning with the last.
    for (const push of news.pushes.reverse()) {
      const list = lists[push.place];
      const fresh = parsed(push.html);
      const old = find(fresh.id);
      if (old === null || old.className !== fresh.className) announced.push(fresh.dataset.news);
      if (old !== null) morph(old, fresh);
      const item = old ?? fresh;
      if (whole || item.parentNode !== list) list.prepend(item);
    }
    if (whole) {
      const known = new Set(news.pushes.map((push) => `push-${push.id}`));
      for (const item of document.querySelectorAll(".push")) if (!known.has(item.id)) item.remove();
    } else if (announced.length) {
      find("news").textContent = announced.join("; ");
    }
    while (lists.lately.children.length > kept) lists.lately.lastElementChild.remove();
    find("counts").textContent = news.counts;
    find("pulls").textContent = news.pulls;
    document.title = news.title;
  }

  function connect() {
    const link = find("link");
    const source = new EventSource("ui/events");
    source.addEventListener("open", () => { link.textContent = "live"; });
    source.addEventListener("whole", (event) => show(JSON.parse(event.data), true));
    source.addEventListener("changed", (event) => show(JSON.parse(event.data), false));
    source.addEventListener("error", () => {
      link.textContent = "not connected, trying again";
      // After an error status, such as 503 for too many readers, a browser does not reconnect by itself.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
    });
  }

  localise(document);
  connect();
})();
