/** /console/first-call: from the key to a first answer. */
import { refusesEveryKey } from '../../../commands/state.ts'
import { type Html, Page, type PageProps } from '../layout.tsx'
import type { Customer } from './dependencies.ts'
import { Block, Time } from './pieces.tsx'
import { Refused } from './standing.tsx'

/** Stands where the key goes, in the form in which the public reference shows it. */
const placeholder = 'lc_abc12xxxxxxxxxxxxxxxxxxxxxxxx'

const curl = (
  url: string,
  key: string,
) => `{ printf '{"image": "'; base64 < face.jpg | tr -d '\\n'; printf '", "image_format": "jpeg"}'; } \\
| curl -X POST ${url}/v1/check/liveness \\
    -H "X-API-Key: ${key}" \\
    -H "Content-Type: application/json" \\
    --data-binary @-`

const python = (url: string, key: string) => `import base64
import requests

with open("face.jpg", "rb") as f:
    image = base64.b64encode(f.read()).decode("ascii")

response = requests.post(
    "${url}/v1/check/liveness",
    headers={"X-API-Key": "${key}"},
    json={"image": image, "image_format": "jpeg"},
    timeout=30,
)
response.raise_for_status()
print(response.json()["data"])`

const node = (url: string, key: string) => `import { readFileSync } from "node:fs";

const image = readFileSync("face.jpg").toString("base64");
const response = await fetch("${url}/v1/check/liveness", {
  method: "POST",
  headers: {
    "X-API-Key": "${key}",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({ image, image_format: "jpeg" }),
});
console.log(await response.json());`

const languages = [
  { id: 'curl', name: 'curl', code: curl },
  { id: 'python', name: 'Python', code: python },
  { id: 'node', name: 'Node.js', code: node },
]

/** The same call in three languages, with the service's own address and the key where it is known. */
export function Samples(props: { readonly publicUrl: string; readonly secret?: string | undefined }): Html {
  const { publicUrl, secret = placeholder } = props
  return (
    <>
      {languages.map(({ id, name, code }) => (
        <section class="block sample">
          <div class="sample-head">
            <h2>{name}</h2>
            <button type="button" class="quiet" data-copy={`sample-${id}`} hidden>
              {`Copy ${name} code`}
            </button>
          </div>
          <pre tabindex="0">
            <code id={`sample-${id}`} safe>
              {code(publicUrl, secret)}
            </code>
          </pre>
        </section>
      ))}
    </>
  )
}

/** Turns green when the first call has arrived. The script asks anew; without it the page loads itself anew. */
export function FirstCallStatus({ firstCallAt }: { readonly firstCallAt: string | null }): Html {
  return (
    <div
      id="first-call"
      class={['notice', firstCallAt === null ? 'waiting' : 'done']}
      role="status"
      data-refresh={firstCallAt === null ? '3' : undefined}
      data-refresh-from="/console/first-call"
    >
      {firstCallAt === null ? (
        <p>Waiting for your first call. This line turns green when it arrives.</p>
      ) : (
        <p>
          Your first call arrived on <Time at={firstCallAt} />. <a href="/console/dashboard">Show the overview</a>
        </p>
      )}
    </div>
  )
}

/** Marked, as a load that nobody asked for: it does not keep the session alive. */
const reload = { seconds: 10, url: '/console/first-call?refresh' }

export function FirstCallPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly publicUrl: string
  readonly customer: Customer | null
  /** ISO 8601 UTC. */
  readonly now: string
  readonly firstCallAt: string | null
}): Html {
  const { frame, publicUrl, customer, now, firstCallAt } = props
  const waits = firstCallAt === null && (customer === null || !refusesEveryKey(customer, now))
  return (
    <Page {...frame} title="First call" place="keys" refresh={waits ? reload : undefined}>
      <h1>First call</h1>
      <Refused customer={customer} now={now} />
      <Block title="Three steps">
        <ol>
          <li>
            Save a photograph of a face as <code>face.jpg</code>.
          </li>
          <li>
            Copy one of the samples below and put your key in place of <code>{placeholder}</code>.
          </li>
          <li>Run it. A successful call uses one credit, a failed one costs nothing.</li>
        </ol>
        {customer?.deactivated ? (
          ''
        ) : (
          <p>
            You have no key at hand? <a href="/console/keys">Regenerate one</a>, it is shown once.
          </p>
        )}
      </Block>
      {waits || firstCallAt !== null ? <FirstCallStatus firstCallAt={firstCallAt} /> : ''}
      <Samples publicUrl={publicUrl} />
    </Page>
  )
}
