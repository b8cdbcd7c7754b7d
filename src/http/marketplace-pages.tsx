/** What a buyer sees on the way from AWS Marketplace to their account. */
import type { PlanName } from '../events/catalogue.ts'
import { Field, type Html, Notice, Page, Submit } from './console/layout.tsx'

interface EmailFormProps {
  readonly version: string
  readonly ticket: string
  readonly plan?: PlanName | undefined
  readonly email?: string
  readonly error?: string
}

export function EmailForm({ version, ticket, plan, email, error }: EmailFormProps): Html {
  return (
    <Page title="Set up your account" version={version} width="narrow">
      <h1>Set up your account</h1>
      <p>
        {plan === undefined ? (
          'Your subscription from AWS Marketplace is registered.'
        ) : (
          <>
            Your subscription from AWS Marketplace is registered with the plan <strong safe>{plan}</strong>.
          </>
        )}{' '}
        The console and your API keys open with an account.
      </p>
      <AddressForm ticket={ticket} email={email} error={error} submit="Send activation link" />
    </Page>
  )
}

export function LinkSent({ version, ticket, email }: { version: string; ticket: string; email: string }): Html {
  return (
    <Page title="Check your mailbox" version={version} width="narrow">
      <h1>Check your mailbox</h1>
      <Notice text={`A link is on its way to ${email}.`} />
      <p>It is good for 7 days. With it you choose a password, set up an authenticator and get your API keys.</p>
      <details class="block">
        <summary>Wrong address, or no mail?</summary>
        <p>A new link takes the place of the one before.</p>
        <AddressForm ticket={ticket} email={email} submit="Send a new link" />
      </details>
    </Page>
  )
}

function AddressForm(props: {
  readonly ticket: string
  readonly email?: string | undefined
  readonly error?: string | undefined
  readonly submit: string
}): Html {
  return (
    <form method="post" action="/marketplace/account" class="block">
      <input type="hidden" name="ticket" value={props.ticket} />
      <Field
        label="E-mail address"
        name="email"
        type="email"
        inputmode="email"
        autocomplete="email"
        hint="You sign in with it, and mail about your usage goes there."
        value={props.email}
        error={props.error}
        maxlength={254}
      />
      <Submit text={props.submit} />
    </form>
  )
}

/** How a registration can end without a form: what is so, and what the buyer can do. */
const endings = {
  no_token: {
    status: 200,
    title: 'Registration begins in AWS Marketplace',
    text: 'Open your subscription in the AWS console under AWS Marketplace, Manage subscriptions, and choose “Set up your account”. It leads back here.',
  },
  invalid: {
    status: 400,
    title: 'AWS Marketplace does not know this registration',
    text: 'The link was changed on its way, or it belongs to another product. Open your subscription in the AWS console and choose “Set up your account” again.',
  },
  expired: {
    status: 410,
    title: 'This registration has expired',
    text: 'A registration is good for a short while and for one use. Open your subscription in the AWS console and choose “Set up your account” again. Nothing is lost, and nothing is registered twice.',
  },
  used: {
    status: 409,
    title: 'This subscription is set up already',
    text: 'Its account has been activated. Sign in to the console with it; if you do not know who has it, ask your colleagues or contact us.',
    signIn: true,
  },
  nothing_bought: {
    status: 409,
    title: 'AWS Marketplace lists no active contract',
    text: 'A new contract takes a few minutes to become active. Open your subscription in the AWS console and choose “Set up your account” again. If the contract has ended, subscribe anew.',
  },
  undecided: {
    status: 409,
    title: 'We have to look at this subscription first',
    text: 'It cannot be connected to an account by itself. We have been told. Contact us, or choose “Set up your account” in the AWS console again tomorrow. You pay no overage until then.',
  },
  closed: {
    status: 409,
    title: 'The account of this subscription is closed',
    text: 'Contact us if you want to use it again.',
  },
  too_many: {
    status: 429,
    title: 'Too many attempts',
    text: 'Wait a minute, then go back and try again.',
  },
  broken: {
    status: 500,
    title: 'Something went wrong on our side',
    text: 'Choose “Set up your account” in the AWS console again. What was done already is kept.',
  },
} as const
export type EndingName = keyof typeof endings

export const statusOf = (name: EndingName): number => endings[name].status

export function Ending({ name, version, requestId }: { name: EndingName; version: string; requestId: string }): Html {
  const { title, text, ...more } = endings[name]
  return (
    <Page title={title} version={version} width="narrow">
      <h1 safe>{title}</h1>
      <p safe>{text}</p>
      {'signIn' in more ? (
        <p>
          <a class="button" href="/console/sign-in">
            Go to sign-in
          </a>
        </p>
      ) : (
        ''
      )}
      <p class="hint">
        If you contact us, name the request <code safe>{requestId}</code>.
      </p>
    </Page>
  )
}

/** AWS or a part of ours cannot be reached: the button sends the same form again. */
export function TryAgain(props: {
  readonly version: string
  readonly action: string
  readonly fields: Readonly<Record<string, string>>
}): Html {
  return (
    <Page title="Not available at the moment" version={props.version} width="narrow">
      <h1>Not available at the moment</h1>
      <p>Nothing is lost, and nothing is registered twice.</p>
      <form method="post" action={props.action} class="block">
        {Object.entries(props.fields).map(([name, value]) => (
          <input type="hidden" name={name} value={value} />
        ))}
        <Submit text="Try again" />
      </form>
    </Page>
  )
}
