/** What is said about a month's signed bundle: how to check it, and when there is none yet. */
import { dayText, monthText } from '../../../format.ts'
import { type Html, Page, type PageProps } from '../layout.tsx'

const dayMs = 24 * 3_600_000

/** Anchors are taken daily, soon after midnight: by tomorrow there is one that reaches what happened until now. */
export function bundleNotYet(month: string, now: string): string {
  const tomorrow = new Date(Date.parse(now) + dayMs).toISOString()
  return (
    `The log is signed once a day, soon after 00:00 UTC, and nothing of your ${monthText(month)} is signed yet. ` +
    `The bundle can be downloaded from ${dayText(tomorrow)} on.`
  )
}

export function BundleNotYetPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly month: string
  readonly now: string
}): Html {
  const { frame, month, now } = props
  return (
    <Page {...frame} title={`Bundle ${monthText(month)}`} place="usage">
      <h1>Not signed yet</h1>
      <p safe>{bundleNotYet(month, now)}</p>
      <p>
        <a class="button" href={`/console/usage/${month}/statement`}>
          Show the statement
        </a>
      </p>
    </Page>
  )
}

/** How the reader of a statement checks it. Of a running month the bundle ends where the log was signed last. */
export function HowToVerify({ running }: { readonly running: boolean }): Html {
  return (
    <p class="hint">
      To verify: download the signed bundle and run <code>liveness audit verify-bundle</code> on it, anywhere, with the
      public key. Get that key from the operator by another way than this page; <code>liveness audit public-key</code>{' '}
      prints it.{' '}
      {running ? (
        <span class="screen-only">While the month runs, the bundle reaches up to the last daily signature.</span>
      ) : (
        ''
      )}
    </p>
  )
}
