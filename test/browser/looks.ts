/** Whether everybody can use a page: what axe-core finds, and whether a phone has to scroll sideways. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import axe, { type AxeResults } from 'axe-core'
import type { Page } from 'playwright-core'

/** Folder for pictures of every page, for a person to look at; none are made without it. */
const pictures = process.env.SCREENSHOTS ?? ''
const widths = [
  { width: 1280, height: 900 },
  { width: 390, height: 844 },
]
const schemes = ['light', 'dark'] as const

/** Looks at the page as it is, in both widths and both schemes. What is wrong with it, as lines. */
export async function faultsOf(page: Page, name: string): Promise<string[]> {
  const faults: string[] = []
  await page.evaluate(axe.source)
  for (const [which, size] of widths.entries()) {
    await page.setViewportSize(size)
    for (const colorScheme of schemes) {
      // Colours do not depend on the width.
      if (which > 0 && colorScheme === 'dark' && pictures === '') continue
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      // The structure of a page does not depend on its colours: in the dark only they are looked at.
      const options = {
        resultTypes: ['violations'],
        ...(colorScheme === 'light' ? {} : { runOnly: ['color-contrast', 'link-in-text-block'] }),
        ...(which === 0 ? {} : { rules: { 'color-contrast': { enabled: false } } }),
      }
      const found = (await page.evaluate(`axe.run(document, ${JSON.stringify(options)})`)) as AxeResults
      const where = `${name} ${size.width} ${colorScheme}`
      for (const { id, impact, nodes } of found.violations) {
        if (impact !== 'serious' && impact !== 'critical') continue
        faults.push(`${where}: ${id} (${impact}) ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
      }
      const sideways = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      if (Number(sideways) > 0) faults.push(`${where}: ${sideways} px wider than the screen`)
      if (pictures !== '') {
        mkdirSync(pictures, { recursive: true })
        await page.screenshot({ path: join(pictures, `${name}-${size.width}-${colorScheme}.png`), fullPage: true })
      }
    }
  }
  return faults
}
