"""The style of the page of `denoise --report`, and the script of its slider and zoom."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5c5c5c; --line: #d9d9d9; --shade: #f5f5f3; --page: #fff;
  --blue: #0066a8; --bad: #a4262c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #a9a9a6; --line: #444; --shade: #262625;
  --page: #1b1b1a; --blue: #6ab4ea; --bad: #ff8b8b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0; }
p { margin: .3rem 0; max-width: 46rem; } .soft, figcaption { color: var(--soft); font-size: .88rem; }
a { color: var(--blue); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.warnings { margin: .6rem 0; padding: .6rem .6rem .6rem 1.8rem; background: var(--shade);
  border-left: 4px solid var(--bad); }
figure { margin: 1rem 0; }
.tools { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; align-items: center; margin: .4rem 0; }
.tools label { display: flex; gap: .5rem; align-items: center; flex: 1 1 16rem; }
.tools input { flex: 1; min-width: 6rem; accent-color: var(--blue); }
.tools span { display: flex; flex-wrap: wrap; gap: .3rem; }
button { font: inherit; font-size: .85rem; padding: .3rem .6rem; min-height: 2.1rem; color: var(--ink);
  background: var(--shade); border: 1px solid var(--line); border-radius: 4px; cursor: pointer; }
button.on { border-color: var(--blue); box-shadow: inset 0 0 0 1px var(--blue); }
.window { overflow: auto; max-height: 85vh; width: max-content; max-width: 100%;
  border: 1px solid var(--line); background: var(--shade); }
.stack { position: relative; width: max-content; }
.stack img { display: block; image-rendering: pixelated; }
.fit .stack img { max-width: 100%; height: auto; image-rendering: auto; } .fit .stack { max-width: 100%; }
.live .stack img + img { position: absolute; inset: 0; }
.live .before { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.live .stack::after { content: ''; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px;
  background: var(--blue); }
.live .residual { visibility: hidden; } .live .shows .residual { visibility: visible; }
.live .shows::after { visibility: hidden; }
svg { width: 100%; max-width: 35rem; height: auto; display: block; } svg line { stroke: var(--line); }
svg text { fill: var(--soft); font-size: 14px; } svg polyline { fill: none; stroke: var(--blue); stroke-width: 2; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; margin: .8rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { min-width: 6rem; max-width: 22rem; } th { background: var(--shade); } .bad td { color: var(--bad); }
"""

SCRIPT = """
for (const pair of document.querySelectorAll('.pair')) {
  const view = pair.querySelector('.window'), stack = pair.querySelector('.stack');
  const range = pair.querySelector('input'), images = [...stack.querySelectorAll('img')];
  const width = images[0].width, height = images[0].height;
  view.classList.add('live', 'fit');
  const show = at => { range.value = at; stack.style.setProperty('--at', at + '%'); };
  range.addEventListener('input', () => show(range.value));
  const drag = event => {
    const box = stack.getBoundingClientRect();
    show(Math.max(0, Math.min(100, 100 * (event.clientX - box.left) / box.width)));
  };
  stack.addEventListener('pointermove', event => {
    if (event.pointerType === 'mouse' && event.buttons) drag(event);
  });
  stack.addEventListener('click', drag);
  stack.addEventListener('dragstart', event => event.preventDefault());
  for (const button of pair.querySelectorAll('[data-zoom]')) {
    button.addEventListener('click', () => {
      const zoom = button.dataset.zoom;
      const x = (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth;
      const y = (view.scrollTop + view.clientHeight / 2) / view.scrollHeight;
      view.classList.toggle('fit', zoom === 'fit');
      for (const image of images) {
        image.style.width = zoom === 'fit' ? '' : width * zoom / devicePixelRatio + 'px';
        image.style.height = zoom === 'fit' ? '' : height * zoom / devicePixelRatio + 'px';
      }
      view.scrollLeft = x * view.scrollWidth - view.clientWidth / 2;
      view.scrollTop = y * view.scrollHeight - view.clientHeight / 2;
      pair.querySelectorAll('[data-zoom]').forEach(one => one.classList.toggle('on', one === button));
    });
  }
  const residual = pair.querySelector('[data-residual]');
  residual.addEventListener('click', () => {
    const on = stack.classList.toggle('shows');
    residual.setAttribute('aria-pressed', on);
    residual.classList.toggle('on', on);
  });
}
"""
