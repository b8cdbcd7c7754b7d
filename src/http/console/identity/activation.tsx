/** The pages from a link to a working account: password, authenticator, recovery codes, keys. */
import type { Pending } from '../../../accounts/enrolment.ts'
import type { Purpose } from '../../../accounts/links.ts'
import type { ShownKey } from '../context.ts'
import { Field, Form, type Html, Notice, Page, Submit } from '../layout.tsx'
import { NewKeys } from '../pages/keys.tsx'
import type { Faults, Frame } from './desk.ts'

const passwordHint = 'At least 12 characters. Several unrelated words are good, a password manager is better.'

/** A password entered twice, for lack of eyes on it. */
export function NewPasswordFields(props: {
  readonly faults: Faults
  readonly email: string
  /** Whether the first of the fields gets the focus. */
  readonly focus?: boolean
}): Html {
  const { faults, email, focus = true } = props
  return (
    <>
      {/* Tells password managers whose password this is. */}
      <input type="hidden" name="username" value={email} autocomplete="username" />
      <Field
        label="New password"
        name="password"
        type="password"
        autocomplete="new-password"
        hint={passwordHint}
        error={faults.password}
        autofocus={focus && faults.again === undefined}
        maxlength={256}
      />
      <Field
        label="New password again"
        name="again"
        type="password"
        autocomplete="new-password"
        error={faults.again}
        autofocus={faults.again !== undefined}
        maxlength={256}
      />
    </>
  )
}

export function LinkPage(props: {
  readonly frame: Frame
  readonly purpose: Purpose
  readonly email: string
  readonly action: string
  readonly faults?: Faults
}): Html {
  const { frame, purpose, email, action, faults = {} } = props
  const activation = purpose === 'activation'
  const title = activation ? 'Activate your account' : 'Set up a new authenticator'
  return (
    <Page {...frame} title={title}>
      <h1 safe>{title}</h1>
      <p>
        {activation ? 'Choose a password for ' : 'Enter the password of '}
        <strong safe>{email}</strong>. Then you set up an authenticator app{activation ? ' and get your API keys' : ''}.
      </p>
      {faults.form === undefined ? '' : <Notice kind="stopped" text={faults.form} />}
      <Form action={action} csrf={frame.csrf} class="block">
        {activation ? (
          <NewPasswordFields faults={faults} email={email} />
        ) : (
          <Field
            label="Password"
            name="password"
            type="password"
            autocomplete="current-password"
            error={faults.password}
            autofocus
          />
        )}
        <Submit text={activation ? 'Set password' : 'Check password'} />
      </Form>
    </Page>
  )
}

/** Base32 is read and typed more easily in groups of four. */
const grouped = (secret: string): string => secret.match(/.{1,4}/g)?.join(' ') ?? secret

export function EnrolPage(props: {
  readonly frame: Frame
  readonly pending: Pending
  /** The QR code, as an SVG element. */
  readonly qr: string
  readonly faults?: Faults
}): Html {
  const { frame, pending, qr, faults = {} } = props
  return (
    <Page {...frame} title="Set up your authenticator">
      <h1>Set up your authenticator</h1>
      <p>
        Scan this with an authenticator app, for instance Google Authenticator, Authy or 1Password. You need a code of
        it each time you sign in.
      </p>
      <section class="block">
        <div class="qr">{qr}</div>
        <p class="hint">
          On this device, <a href={pending.uri}>open the app</a>. Or type this key into it:
        </p>
        <p>
          <code id="totp-secret" safe>
            {grouped(pending.secret)}
          </code>
        </p>
        <p>
          <button type="button" class="quiet" data-copy="totp-secret" hidden>
            Copy key
          </button>
        </p>
      </section>
      <Form action="/console/enrol" csrf={frame.csrf} class="block">
        <Field
          label="Code"
          name="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          hint="The six digits that the app shows now."
          error={faults.code}
          autofocus
        />
        <Submit text="Confirm authenticator" />
      </Form>
    </Page>
  )
}

export function RecoveryCodesPage(props: {
  readonly frame: Frame
  readonly codes: readonly string[]
  /** Whether the keys are what comes next. */
  readonly keysNext: boolean
}): Html {
  const { frame, codes, keysNext } = props
  return (
    <Page {...frame} title="Your recovery codes" place={keysNext ? undefined : 'account'}>
      <h1>Your recovery codes</h1>
      <p>
        Each of these codes signs you in once, in place of a code from your authenticator. Keep them where you find them
        without your phone.
      </p>
      <section class="block key">
        <pre class="codes">
          <code id="recovery-codes" safe>
            {codes.join('\n')}
          </code>
        </pre>
        <p>
          <button type="button" class="quiet" data-copy="recovery-codes" hidden>
            Copy recovery codes
          </button>
        </p>
        <p class="soon-line">They are not shown again.</p>
      </section>
      {keysNext ? (
        <Form action="/console/first-keys" csrf={frame.csrf}>
          <Submit text="Show my API keys" />
        </Form>
      ) : (
        <p>
          <a class="button" href="/console/account">
            I have stored the codes
          </a>
        </p>
      )}
    </Page>
  )
}

/** For somebody who left before the keys were issued. */
export function FirstKeysPage({ frame }: { readonly frame: Frame }): Html {
  return (
    <Page {...frame} title="Your API keys" place="keys">
      <h1>Your API keys</h1>
      <p>Your account has two keys, a primary and a secondary one. They are issued now, and shown to you once.</p>
      <Form action="/console/first-keys" csrf={frame.csrf}>
        <Submit text="Show my API keys" />
      </Form>
    </Page>
  )
}

export function ShownKeysPage(props: {
  readonly frame: Frame
  readonly keys: readonly ShownKey[]
  readonly publicUrl: string
}): Html {
  const { frame, keys, publicUrl } = props
  return (
    <Page {...frame} title="Your API keys" place="keys">
      <h1>Your API keys</h1>
      <p>Both keys work alike. Keep the secondary one as a backup.</p>
      <NewKeys keys={keys} publicUrl={publicUrl} firstCallAt={null} />
      <p>
        <a class="button" href="/console/first-call">
          I have stored the keys
        </a>
      </p>
    </Page>
  )
}
