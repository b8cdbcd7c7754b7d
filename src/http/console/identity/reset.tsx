/** The pages for a forgotten password, and for links that no longer work. */
import { Field, Form, type Html, Notice, Page, Submit } from '../layout.tsx'
import { NewPasswordFields } from './activation.tsx'
import type { Faults, Frame } from './desk.ts'

export function ResetRequestPage(props: {
  readonly frame: Frame
  readonly email?: string
  readonly faults?: Faults
}): Html {
  const { frame, email, faults = {} } = props
  return (
    <Page {...frame} title="Reset your password">
      <h1>Reset your password</h1>
      <p>You get a code by mail. With it you choose a new password.</p>
      {faults.form === undefined ? '' : <Notice kind="stopped" text={faults.form} />}
      <Form action="/console/reset" csrf={frame.csrf} class="block">
        <Field
          label="E-mail address"
          name="email"
          type="email"
          inputmode="email"
          autocomplete="username"
          value={email}
          error={faults.email}
          autofocus
        />
        <Submit text="Send code" />
      </Form>
      <p>
        <a href="/console/sign-in">Back to sign-in</a>
      </p>
    </Page>
  )
}

export function ResetPage(props: { readonly frame: Frame; readonly email: string; readonly faults?: Faults }): Html {
  const { frame, email, faults = {} } = props
  return (
    <Page {...frame} title="Choose a new password">
      <h1>Choose a new password</h1>
      <p>
        If <strong safe>{email}</strong> has an account, a code of six digits is on its way there. It is good for 15
        minutes.
      </p>
      {faults.form === undefined ? '' : <Notice kind="stopped" text={faults.form} />}
      <Form action="/console/reset/code" csrf={frame.csrf} class="block">
        <Field
          label="Code from the mail"
          name="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          error={faults.code}
          autofocus={faults.password === undefined && faults.again === undefined}
        />
        <NewPasswordFields faults={faults} email={email} focus={faults.password !== undefined} />
        <Submit text="Set new password" />
      </Form>
      <p class="hint">
        All sessions end, and your authenticator stays as it is. No mail? <a href="/console/reset">Send a new code</a>
      </p>
    </Page>
  )
}

export function LinkGonePage({ frame }: { readonly frame: Frame }): Html {
  return (
    <Page {...frame} title="This link no longer works">
      <h1>This link no longer works</h1>
      <p>It was used already, replaced by a newer one, or it has expired. A newer link is in a later mail.</p>
      <p>
        <a class="button" href="/console/sign-in">
          Go to sign-in
        </a>
      </p>
    </Page>
  )
}
