setInterval(async () => {
  try {
    const answer = await fetch(location.href, {cache: 'no-store'});
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const main = document.querySelector('main'), next = page.querySelector('main');
    if (!next || main.querySelector('details[open]')) return;
    // What has not changed stays, so that a screen reader does not say it again.
    const shown = [...main.children], fresh = [...next.children];
    shown.slice(fresh.length).forEach(element => element.remove());
    fresh.forEach((element, place) => {
      if (place >= shown.length) main.append(element);
      else if (shown[place].outerHTML !== element.outerHTML) shown[place].replaceWith(element);
    });
  } catch (error) {}
}, 3000)
