/** The account page and its forms: one change each, behind what proves that it is you. */
import type { PropsWithChildren } from '@kitajs/html'
import type { Account } from '../../../accounts/own.ts'
import { Field, Form, type Html, Notice, Page, Submit } from '../layout.tsx'
import { NewPasswordFields } from './activation.tsx'
import type { Faults, Frame } from './desk.ts'

export function AccountPage({ frame, account }: { readonly frame: Frame; readonly account: Account }): Html {
  const { email, alertsEnabled, recoveryCodes, pendingEmail } = account
  const { csrf } = frame
  return (
    <Page {...frame} title="Account" place="account">
      <h1>Account</h1>
      <section class="block">
        <h2>Sign-in</h2>
        <dl class="facts">
          <div>
            <dt>E-mail address</dt>
            <dd>
              <span safe>{email}</span> · <a href="/console/account/email">Change e-mail address</a>
              {pendingEmail === null ? (
                ''
              ) : (
                <p class="hint">
                  Becomes <span safe>{pendingEmail}</span> once both addresses have confirmed it.
                </p>
              )}
            </dd>
          </div>
          <div>
            <dt>Password</dt>
            <dd>
              <a href="/console/account/password">Change password</a>
            </dd>
          </div>
          <div>
            <dt>Authenticator</dt>
            <dd>
              <a href="/console/account/authenticator">Change authenticator</a>
            </dd>
          </div>
          <div>
            <dt>Recovery codes</dt>
            <dd>
              {`${recoveryCodes} left`} · <a href="/console/account/recovery-codes">Make new recovery codes</a>
            </dd>
          </div>
        </dl>
      </section>
      <section class="block">
        <h2>Mail about usage</h2>
        <p>
          {alertsEnabled
            ? 'You get a mail at 80 % and at 100 % of your credits, and when overage begins.'
            : 'You get no mail about your usage.'}
        </p>
        <Form action="/console/account/alerts" csrf={csrf}>
          <Submit
            kind="quiet"
            name="alerts"
            value={alertsEnabled ? 'off' : 'on'}
            text={alertsEnabled ? 'Stop mail about usage' : 'Send mail about usage'}
          />
        </Form>
      </section>
      <section class="block">
        <h2>Sessions</h2>
        <p>A session ends after 30 minutes without a page, and after 12 hours in any case.</p>
        <Form action="/console/account/sign-out-everywhere" csrf={csrf}>
          <Submit kind="quiet" text="Sign out everywhere" />
        </Form>
      </section>
    </Page>
  )
}

interface FormProps {
  readonly frame: Frame
  readonly faults?: Faults
}

const PresentPassword = ({ faults }: { readonly faults: Faults }): Html => (
  <Field
    label="Password"
    name="present"
    type="password"
    autocomplete="current-password"
    error={faults.present}
    autofocus={faults.present !== undefined}
  />
)

const Code = ({ faults }: { readonly faults: Faults }): Html => (
  <Field
    label="Code"
    name="code"
    inputmode="numeric"
    autocomplete="one-time-code"
    hint="Six digits from your authenticator. A code works once: if you just used one, wait for the next."
    error={faults.code}
    autofocus={faults.code !== undefined}
  />
)

/** The frame of one change, with the way back. */
function Change(
  props: PropsWithChildren<{
    readonly frame: Frame
    readonly title: string
    readonly about: string
    readonly action: string
    readonly submit: string
    readonly faults: Faults
  }>,
): Html {
  const { frame, title, about, action, submit, faults, children } = props
  return (
    <Page {...frame} title={title} place="account" width="narrow">
      <h1 safe>{title}</h1>
      <p safe>{about}</p>
      {faults.form === undefined ? '' : <Notice kind="stopped" text={faults.form} />}
      <Form action={action} csrf={frame.csrf} class="block">
        {children}
        <div class="actions">
          <Submit text={submit} />
          <a href="/console/account">Keep as it is</a>
        </div>
      </Form>
    </Page>
  )
}

export function PasswordPage({ frame, faults = {}, email }: FormProps & { readonly email: string }): Html {
  return (
    <Change
      frame={frame}
      title="Change password"
      about="All other sessions end with the change."
      action="/console/account/password"
      submit="Change password"
      faults={faults}
    >
      <Field
        label="Present password"
        name="present"
        type="password"
        autocomplete="current-password"
        error={faults.present}
        autofocus={faults.password === undefined && faults.again === undefined}
      />
      <NewPasswordFields faults={faults} email={email} focus={faults.password !== undefined} />
    </Change>
  )
}

export function EmailPage({ frame, faults = {}, email }: FormProps & { readonly email?: string }): Html {
  return (
    <Change
      frame={frame}
      title="Change e-mail address"
      about="A mail goes to the present and to the new address. The change is made once both have confirmed it."
      action="/console/account/email"
      submit="Send both mails"
      faults={faults}
    >
      <Field
        label="New e-mail address"
        name="email"
        type="email"
        inputmode="email"
        autocomplete="email"
        value={email}
        error={faults.email}
        autofocus={faults.present === undefined && faults.code === undefined}
      />
      <PresentPassword faults={faults} />
      <Code faults={faults} />
    </Change>
  )
}

export function AuthenticatorPage({ frame, faults = {} }: FormProps): Html {
  return (
    <Change
      frame={frame}
      title="Change authenticator"
      about="Your present authenticator works until the new one is confirmed. Without it, use a recovery code."
      action="/console/account/authenticator"
      submit="Set up new authenticator"
      faults={faults}
    >
      <PresentPassword faults={faults} />
      <Code faults={faults} />
    </Change>
  )
}

export function NewRecoveryCodesPage({ frame, faults = {} }: FormProps): Html {
  return (
    <Change
      frame={frame}
      title="Make new recovery codes"
      about="The old codes stop working at once. The new ones are shown once."
      action="/console/account/recovery-codes"
      submit="Make new recovery codes"
      faults={faults}
    >
      <Code faults={faults} />
    </Change>
  )
}

export function ConfirmEmailPage(props: {
  readonly frame: Frame
  readonly email: string
  readonly action: string
}): Html {
  const { frame, email, action } = props
  return (
    <Page {...frame} title="Confirm the change" width="narrow">
      <h1>Confirm the change</h1>
      <p>
        <strong safe>{email}</strong> is to be the e-mail address of your account.
      </p>
      <Form action={action} csrf={frame.csrf}>
        <Submit text="Confirm e-mail address" />
      </Form>
    </Page>
  )
}

/** What a confirmation led to. */
export function EmailConfirmedPage(props: {
  readonly frame: Frame
  readonly outcome: 'waiting' | 'changed' | 'taken'
}): Html {
  const { frame, outcome } = props
  const words = {
    waiting: ['Confirmed', 'The change is made once the other address has confirmed it too: open the link sent there.'],
    changed: ['Your e-mail address is changed', 'Sign in with the new address from now on. All sessions have ended.'],
    taken: ['This address cannot be used', 'Nothing was changed. Choose another address on the account page.'],
  } as const
  const [title, text] = words[outcome]
  return (
    <Page {...frame} title={title} width="narrow">
      <h1 safe>{title}</h1>
      <p safe>{text}</p>
      <p>
        <a class="button" href="/console/sign-in">
          Go to sign-in
        </a>
      </p>
    </Page>
  )
}
