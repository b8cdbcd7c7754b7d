/* What the console does with script on. Everything works without it. */

// Copy buttons: hidden until script runs, for without it there is nothing they could do.
for (const button of document.querySelectorAll('button[data-copy]')) {
  button.hidden = false
  button.addEventListener('click', async () => {
    const source = document.getElementById(button.dataset.copy)
    const said = button.textContent
    try {
      await navigator.clipboard.writeText(source.textContent.trim())
      button.textContent = 'Copied'
    } catch {
      // Clipboard refused (no secure context): select the text instead, so that one key press copies it.
      getSelection().selectAllChildren(source)
      button.textContent = 'Selected: copy it with your keyboard'
    }
    setTimeout(() => {
      button.textContent = said
    }, 4000)
  })
}

// The row of places on a phone begins where the reader is. Only the row moves: the page stays where it was.
const place = document.querySelector('.places [aria-current]')
if (place !== null) {
  const row = place.closest('.places')
  row.scrollLeft = place.offsetLeft - row.offsetLeft - (row.clientWidth - place.offsetWidth) / 2
}

// Print buttons.
for (const button of document.querySelectorAll('button[data-print]')) {
  button.hidden = false
  button.addEventListener('click', () => print())
}

// Times in UTC keep their text; the reader's own time goes into the title.
function localTimes(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime)
    if (time.dateTime.includes('T')) time.title = `${at.toLocaleString()} in your time zone`
  }
}
localTimes(document)

// Parts that refresh themselves: asked for anew every so many seconds while the page is in view, replaced when changed.
// Only for so long as somebody is there: a page left open must not keep its session from ending.
const attentionMs = 10 * 60 * 1000
let lastSeen = Date.now()
for (const sign of ['pointermove', 'keydown', 'scroll', 'focus']) {
  addEventListener(sign, () => {
    lastSeen = Date.now()
  })
}

for (const part of document.querySelectorAll('[data-refresh]')) {
  const address = part.dataset.refreshFrom ?? location.href
  let shown = part.innerHTML
  const timer = setInterval(refresh, Number(part.dataset.refresh) * 1000)
  addEventListener('focus', refresh)

  async function refresh() {
    // A reader who is inside the part, or has opened something in it, keeps what they look at.
    const busy = part.contains(document.activeElement) || part.querySelector('details[open]') !== null
    if (document.hidden || busy || Date.now() - lastSeen > attentionMs) return
    let fresh = null
    try {
      const response = await fetch(address, { headers: { accept: 'text/html', 'x-refresh': '1' }, redirect: 'manual' })
      if (!response.ok) return // signed out meanwhile, or the service is away for a moment
      fresh = new DOMParser().parseFromString(await response.text(), 'text/html').getElementById(part.id)
    } catch {
      return // the service cannot be reached: the page keeps what it shows
    }
    if (fresh === null || fresh.innerHTML === shown) return
    shown = fresh.innerHTML
    part.innerHTML = shown
    part.className = fresh.className
    localTimes(part)
    if (fresh.dataset.refresh !== undefined) return
    clearInterval(timer) // what was waited for has come
    removeEventListener('focus', refresh)
  }
}
