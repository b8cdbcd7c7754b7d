/**
 * The frame of every page, and the pieces its forms are made of.
 *
 * Kita escapes attributes, but children only under an element marked `safe`: whatever comes from outside this program
 * (an address, a notice, an event) stands in an element of its own that is marked so.
 */
import type { PropsWithChildren } from '@kitajs/html'
import { icon, script, stylesheet } from './assets.ts'

/** What a view returns: HTML, or a promise of it where a part is awaited. */
export type Html = string | Promise<string>

const productName = 'Liveness Detection'

const places = [
  { place: 'overview', href: '/console/dashboard', text: 'Overview' },
  { place: 'keys', href: '/console/keys', text: 'API keys' },
  { place: 'usage', href: '/console/usage', text: 'Usage and statements' },
  { place: 'plan', href: '/console/plan', text: 'Plan' },
  { place: 'account', href: '/console/account', text: 'Account' },
] as const
export type Place = (typeof places)[number]['place']

export interface PageProps {
  readonly title: string
  /** Which of the five places is marked as the current one. */
  readonly place?: Place | undefined
  /** Whose page it is; without, the frame has no places and no sign-out. */
  readonly signedIn?: { readonly email: string } | undefined
  /** Token of the sign-out form; needed wherever `signedIn` is given. */
  readonly csrf?: string | undefined
  /** What is now true, after a redirect. */
  readonly notice?: string | null | undefined
  /** Of the service, for the footer. */
  readonly version: string
  /** What a browser without script loads by itself, and after how many seconds. */
  readonly refresh?: { readonly seconds: number; readonly url: string } | undefined
  /** `narrow` for a single form, as on the way in. */
  readonly width?: 'narrow' | 'wide' | undefined
}

export function Page(props: PropsWithChildren<PageProps>): Html {
  const { title, place, signedIn, csrf = '', notice, version, refresh, width = 'wide', children } = props
  return (
    <>
      {'<!doctype html>'}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <meta name="robots" content="noindex" />
          <title safe>{`${title} · ${productName}`}</title>
          <link rel="icon" href={icon.url} />
          <link rel="stylesheet" href={stylesheet.url} />
          <script src={script.url} defer />
          {refresh === undefined ? (
            ''
          ) : (
            <noscript>
              <meta http-equiv="refresh" content={`${refresh.seconds}; url=${refresh.url}`} />
            </noscript>
          )}
        </head>
        <body>
          <a class="skip" href="#main">
            Skip to content
          </a>
          <header class="bar">
            <div class="bar-in">
              <a class="product" href={signedIn === undefined ? '/' : '/console/dashboard'}>
                <Mark />
                {productName}
              </a>
              {signedIn === undefined ? (
                ''
              ) : (
                <>
                  <span class="who" safe>
                    {signedIn.email}
                  </span>
                  <Form action="/console/sign-out" csrf={csrf}>
                    <button type="submit" class="plain">
                      Sign out
                    </button>
                  </Form>
                </>
              )}
            </div>
            {signedIn === undefined ? (
              ''
            ) : (
              <nav aria-label="Console">
                <ul class="places">
                  {places.map((entry) => (
                    <li>
                      <a href={entry.href} aria-current={entry.place === place ? 'page' : undefined}>
                        {entry.text}
                      </a>
                    </li>
                  ))}
                </ul>
              </nav>
            )}
          </header>
          <main id="main" class={width} tabindex="-1">
            {typeof notice === 'string' ? <Notice text={notice} /> : ''}
            {children}
          </main>
          <footer>
            <p>
              Liveness Detection API, version <span safe>{version}</span>
            </p>
            <p class="links">
              <a href="/">Start page</a> <a href="/docs">API reference</a>
            </p>
          </footer>
        </body>
      </html>
    </>
  )
}

/** The product's sign: a face in the corners of a viewfinder. */
function Mark(): Html {
  return (
    <svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">
      <path d="M3 8V5a2 2 0 0 1 2-2h3M16 3h3a2 2 0 0 1 2 2v3M21 16v3a2 2 0 0 1-2 2h-3M8 21H5a2 2 0 0 1-2-2v-3" />
      <circle cx="12" cy="12" r="5" />
    </svg>
  )
}

/** A form that posts, with the token that proves that it was this console's page that sent it. */
export function Form(props: PropsWithChildren<{ action: string; csrf: string; class?: string | undefined }>): Html {
  return (
    <form method="post" action={props.action} class={props.class}>
      <input type="hidden" name="_csrf" value={props.csrf} />
      {props.children}
    </form>
  )
}

export interface FieldProps {
  /** The label, and with `name` the identity of the field: one of a name on a page. */
  readonly label: string
  readonly name: string
  readonly type?: 'text' | 'email' | 'password' | undefined
  /** What was typed. Never given for passwords and codes. */
  readonly value?: string | undefined
  readonly autocomplete: 'username' | 'email' | 'current-password' | 'new-password' | 'one-time-code' | 'off'
  readonly inputmode?: 'numeric' | 'email' | undefined
  /** What is expected, said before anything is wrong. */
  readonly hint?: string | undefined
  /** What is wrong and what is expected. The first field with an error gets the focus: give `autofocus` there. */
  readonly error?: string | undefined
  readonly autofocus?: boolean | undefined
  readonly required?: boolean | undefined
  readonly maxlength?: number | undefined
}

/** A labelled input with its hint and its error, tied together for screen readers. */
export function Field(props: FieldProps): Html {
  const { label, name, type = 'text', value, autocomplete, inputmode, hint, error, autofocus, required = true } = props
  const described = [hint === undefined ? '' : `${name}-hint`, error === undefined ? '' : `${name}-error`]
    .filter((id) => id !== '')
    .join(' ')
  return (
    <div class="field">
      <label for={name} safe>
        {label}
      </label>
      {hint === undefined ? (
        ''
      ) : (
        <p class="hint" id={`${name}-hint`} safe>
          {hint}
        </p>
      )}
      <input
        id={name}
        name={name}
        type={type}
        value={value}
        autocomplete={autocomplete}
        inputmode={inputmode}
        maxlength={props.maxlength}
        required={required}
        autofocus={autofocus}
        spellcheck="false"
        autocapitalize="none"
        aria-invalid={error === undefined ? undefined : 'true'}
        aria-describedby={described === '' ? undefined : described}
      />
      {error === undefined ? (
        ''
      ) : (
        <p class="error" id={`${name}-error`} safe>
          {error}
        </p>
      )}
    </div>
  )
}

/**
 * A line set apart. `done` says what is now true, `soon` what needs attention before long, `stopped` what does not work;
 * each carries its word or shape, for colour alone says nothing.
 */
export function Notice(props: {
  readonly text: string
  readonly kind?: 'done' | 'soon' | 'stopped' | undefined
}): Html {
  const { text, kind = 'done' } = props
  return (
    <p class={['notice', kind]} role={kind === 'stopped' ? 'alert' : 'status'} safe>
      {text}
    </p>
  )
}

/** The button of a form: a verb with its object. */
export function Submit(props: {
  readonly text: string
  readonly kind?: 'main' | 'quiet' | 'danger' | undefined
  /** For several buttons in one form. */
  readonly name?: string | undefined
  readonly value?: string | undefined
}): Html {
  return (
    <button type="submit" class={props.kind ?? 'main'} name={props.name} value={props.value} safe>
      {props.text}
    </button>
  )
}
