/** /console/keys: the two keys, and the way to a new one. */
import type { Slot } from '../../../events/catalogue.ts'
import type { ShownKey } from '../context.ts'
import { Field, Form, type Html, Page, type PageProps, Submit } from '../layout.tsx'
import type { Customer, ListedKey } from './dependencies.ts'
import { FirstCallStatus, Samples } from './first-call.tsx'
import { Block, Time } from './pieces.tsx'
import { Refused } from './standing.tsx'

type Frame = Omit<PageProps, 'title' | 'place'>
const title = (slot: Slot): string => (slot === 'primary' ? 'Primary key' : 'Secondary key')
const hasExpired = ({ expiresAt }: ListedKey, now: string): boolean => expiresAt !== null && expiresAt <= now

export function KeysPage(props: {
  readonly frame: Frame
  readonly keys: Readonly<Record<Slot, ListedKey | null>>
  readonly customer: Customer | null
  /** ISO 8601 UTC. */
  readonly now: string
}): Html {
  const { keys, customer, now } = props
  return (
    <Page {...props.frame} title="API keys" place="keys">
      <h1>API keys</h1>
      <Refused customer={customer} now={now} />
      {customer?.deactivated ? (
        ''
      ) : (
        <p>
          The primary and the secondary key do the same. Keep one as a backup, so that you can replace the other without
          a pause.
        </p>
      )}
      <div class="pair">
        <KeyBlock slot="primary" found={keys.primary} customer={customer} now={now} />
        <KeyBlock slot="secondary" found={keys.secondary} customer={customer} now={now} />
      </div>
      {customer?.deactivated ? '' : <Rotation />}
    </Page>
  )
}

function Rotation(): Html {
  return (
    <Block title="Replace a key without a pause">
      <ol>
        <li>Switch your code to the other key.</li>
        <li>Regenerate the key you want to replace.</li>
        <li>Put the new key into your code, and regenerate the other one a few days later.</li>
      </ol>
      <p>
        <a href="/console/first-call">Show code that calls the API</a>
      </p>
    </Block>
  )
}

function KeyBlock(props: {
  readonly slot: Slot
  readonly found: ListedKey | null
  readonly customer: Customer | null
  readonly now: string
}): Html {
  const { slot, found, customer, now } = props
  return (
    <Block title={title(slot)}>
      {found === null ? (
        <p>{`There is no ${slot} key.${customer?.deactivated ? '' : ' Issue one to use it.'}`}</p>
      ) : (
        <>
          <p class="value">
            <code safe>{`${found.prefix}…`}</code>
          </p>
          <dl class="facts">
            <div>
              <dt>Created</dt>
              <dd>
                <Time at={found.issuedAt} />
              </dd>
            </div>
            <div>
              <dt>Last used</dt>
              <dd>{found.lastUsedAt === null ? 'Never' : <Time at={found.lastUsedAt} />}</dd>
            </div>
            {found.expiresAt === null ? (
              ''
            ) : (
              <div>
                <dt>{hasExpired(found, now) ? 'Expired' : 'Expires'}</dt>
                <dd>
                  <Time at={found.expiresAt} />
                </dd>
              </div>
            )}
          </dl>
          {hasExpired(found, now) ? (
            <p>Calls with this key are answered with 401. Regenerate it to use it again.</p>
          ) : (
            ''
          )}
        </>
      )}
      {customer?.deactivated ? (
        ''
      ) : (
        <p>
          <a class="button quiet" href={`/console/keys/${slot}/regenerate`}>
            {found === null ? `Issue ${slot} key` : `Regenerate ${slot} key`}
          </a>
        </p>
      )}
    </Block>
  )
}

interface Replacement {
  readonly csrf: string
  readonly slot: Slot
  readonly found: ListedKey | null
  /** ISO 8601 UTC. */
  readonly now: string
  readonly error?: string | undefined
}

const verbOf = ({ found }: Pick<Replacement, 'found'>): string => (found === null ? 'Issue' : 'Regenerate')

/** The way to a new key; none from an account that is deactivated. */
export function RegeneratePage(
  props: Replacement & { readonly frame: Frame; readonly customer: Customer | null },
): Html {
  const { frame, slot, customer, now } = props
  const verb = verbOf(props)
  return (
    <Page {...frame} title={`${verb} ${slot} key`} place="keys" width="narrow">
      <h1>{`${verb} ${slot} key`}</h1>
      <Refused customer={customer} now={now} />
      {customer?.deactivated ? '' : <Confirm {...props} />}
    </Page>
  )
}

/** What happens at once, and the code that lets it happen. */
function Confirm(props: Replacement): Html {
  const { csrf, slot, found, now, error } = props
  return (
    <section class="block">
      {found === null ? (
        <p>A new {slot} key is issued and shown to you once.</p>
      ) : (
        <>
          <p>
            {hasExpired(found, now) ? (
              <>
                The old key (<code safe>{`${found.prefix}…`}</code>) has expired: calls with it fail already.
              </>
            ) : (
              <strong>
                Calls with the old key (<code safe>{`${found.prefix}…`}</code>) fail from that moment on.
              </strong>
            )}
          </p>
          <p>
            {found.lastUsedAt === null ? (
              'It was never used.'
            ) : (
              <>
                It was last used on <Time at={found.lastUsedAt} />.
              </>
            )}{' '}
            The new key is shown to you once.
          </p>
        </>
      )}
      <Form action={`/console/keys/${slot}/regenerate`} csrf={csrf}>
        <Field
          label="Code from your authenticator"
          name="code"
          autocomplete="one-time-code"
          inputmode="numeric"
          hint="Six digits. A code works once: if you just used one, wait for the next. A recovery code works too."
          error={error}
          autofocus
        />
        <div class="actions">
          <Submit kind={found === null ? 'main' : 'danger'} text={`${verbOf(props)} ${slot} key`} />
          <a href="/console/keys">Keep as it is</a>
        </div>
      </Form>
    </section>
  )
}

/** Keys just issued. Rendered into the one response that shows them. */
export function NewKeys(props: {
  readonly keys: readonly ShownKey[]
  readonly publicUrl: string
  /** When the customer's first call was made; null while there is none. */
  readonly firstCallAt: string | null
}): Html {
  const { keys, publicUrl, firstCallAt } = props
  const [sample] = keys
  return (
    <>
      {keys.map(({ slot, secret }) => (
        <section class="block key">
          <h2>{title(slot)}</h2>
          <p class="secret">
            <code id={`key-${slot}`} safe>
              {secret}
            </code>
            <button type="button" class="quiet" data-copy={`key-${slot}`} hidden>
              {`Copy ${slot} key`}
            </button>
          </p>
          <p class="soon-line">This key is not shown again. Store it now, for instance in a password manager.</p>
        </section>
      ))}
      {firstCallAt === null && sample !== undefined ? (
        <>
          <FirstCallStatus firstCallAt={null} />
          <Samples publicUrl={publicUrl} secret={sample.secret} />
        </>
      ) : (
        ''
      )}
    </>
  )
}

export function NewKeyPage(props: {
  readonly frame: Frame
  readonly shown: ShownKey
  readonly publicUrl: string
  readonly firstCallAt: string | null
}): Html {
  const { frame, shown, publicUrl, firstCallAt } = props
  return (
    <Page {...frame} title={`New ${shown.slot} key`} place="keys">
      <h1>{`New ${shown.slot} key`}</h1>
      <NewKeys keys={[shown]} publicUrl={publicUrl} firstCallAt={firstCallAt} />
      <p>
        <a class="button" href="/console/keys">
          I have stored the key
        </a>
      </p>
    </Page>
  )
}
