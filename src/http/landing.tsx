/** `/`: leads a visitor to the console and to the API's page, and says which service and version answers. */
import type { FastifyInstance } from 'fastify'
import { Page } from './console/layout.tsx'

/** Nothing inline, nothing from elsewhere. The console's own pages get theirs from the console. */
const headers = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
}

export function registerLanding(app: FastifyInstance, deps: { readonly version: string; readonly publicUrl: string }) {
  app.get('/', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .headers(headers)
      .type('text/html; charset=utf-8')
      .send(
        await (
          <Page title="Start" version={deps.version}>
            <section class="hero">
              <h1>Live face or a photograph of one?</h1>
              <p>
                Send a photograph, learn whether it shows a live person or a spoof: a print, or a screen. Only calls
                that return a result use a credit.
              </p>
              <p class="actions">
                <a class="button" href="/console/dashboard">
                  Open the console
                </a>
                <a class="button quiet" href="/docs">
                  Read the API reference
                </a>
              </p>
            </section>
            <section class="block">
              <h2>One request, one answer</h2>
              <pre tabindex="0">
                <code safe>{`POST ${deps.publicUrl}/v1/check/liveness
X-API-Key: lc_…
Content-Type: application/json

{"image": "<Base64>", "image_format": "jpeg"}`}</code>
              </pre>
            </section>
            <div class="pair">
              <section class="block">
                <h2>Customers</h2>
                <p>
                  Keys, usage, statements and your plan are in the console. Sign in with a code from your authenticator.
                </p>
                <p>
                  <a href="/console/sign-in">Sign in</a>
                </p>
              </section>
              <section class="block">
                <h2>Developers</h2>
                <p>Every field and every error of the API, generated from the code that answers.</p>
                <p>
                  <a href="/docs">API reference</a>
                </p>
              </section>
            </div>
          </Page>
        ),
      ),
  )
}
