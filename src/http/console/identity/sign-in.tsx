/** The sign-in page. */
import { Field, Form, type Html, Notice, Page, Submit } from '../layout.tsx'
import type { Faults, Frame } from './desk.ts'

export function SignInPage(props: {
  readonly frame: Frame
  readonly email?: string
  /** Where to go afterwards. */
  readonly next?: string | undefined
  readonly faults?: Faults
}): Html {
  const { frame, email, next, faults = {} } = props
  return (
    <Page {...frame} title="Sign in">
      <h1>Sign in</h1>
      {faults.form === undefined ? '' : <Notice kind="stopped" text={faults.form} />}
      <Form action="/console/sign-in" csrf={frame.csrf} class="block">
        {next === undefined ? '' : <input type="hidden" name="next" value={next} />}
        <Field
          label="E-mail address"
          name="email"
          type="email"
          inputmode="email"
          autocomplete="username"
          value={email}
          error={faults.email}
          autofocus={email === undefined}
        />
        <Field
          label="Password"
          name="password"
          type="password"
          autocomplete="current-password"
          error={faults.password}
          autofocus={email !== undefined}
        />
        <Field
          label="Code"
          name="code"
          inputmode="numeric"
          autocomplete="one-time-code"
          hint="Six digits from your authenticator app. Without it, one of your recovery codes."
          error={faults.code}
        />
        <Submit text="Sign in" />
      </Form>
      <p>
        <a href="/console/reset">Forgot your password?</a>
      </p>
    </Page>
  )
}
