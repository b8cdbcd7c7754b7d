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

// Parts that refresh themselves: fetched anew every so many seconds while the page is in view, replaced when changed.
for (const part of document.querySelectorAll('[data-refresh]')) {
  const refresh = async () => {
    // A reader who is inside the part keeps what they have opened or marked.
    if (document.hidden || part.contains(document.activeElement) || part.querySelector('details[open]')) return
    try {
      const response = await fetch(location.href, { headers: { 'x-console-refresh': '1' }, redirect: 'manual' })
      if (!response.ok) return
      const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').getElementById(part.id)
      if (fresh !== null && fresh.innerHTML !== part.dataset.html) {
        part.dataset.html = fresh.innerHTML
        part.innerHTML = fresh.innerHTML
        part.className = fresh.className
        localTimes(part)
      }
    } catch {
      // The server is away: the page keeps what it shows, and the next round may find it again.
    }
  }
  part.dataset.html = part.innerHTML
  setInterval(refresh, Number(part.dataset.refresh) * 1000)
  addEventListener('focus', refresh)
}
