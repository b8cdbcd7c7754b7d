/** The API's description, generated from the schemas that the routes run on, and a page that shows it. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { createJsonSchemaTransform } from 'fastify-type-provider-zod'

/** Minor versions add fields (api-reference, "Versioning"): no client may be told that there are no others. */
const transform = createJsonSchemaTransform({
  zodToJsonConfig: {
    override({ jsonSchema }) {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
    },
  },
})

/** Register before the routes. Serves /openapi.json and /docs. */
export async function describeApi(app: FastifyInstance, version: string, publicUrl: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Liveness Detection API',
        version,
        description: 'Tells a live face from a photograph of a photograph. Months are UTC calendar months.',
      },
      servers: [{ url: publicUrl }],
      components: { securitySchemes: { apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' } } },
    },
    transform,
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Scripts only from here. Swagger UI styles itself with inline styles; nothing upgrades to https, because the
    // embedded default is plain http on one machine.
    staticCSP: {
      'default-src': "'self'",
      'script-src': "'self'",
      'style-src': ["'self'", "'unsafe-inline'"],
      'img-src': ["'self'", 'data:'],
      'object-src': "'none'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
    },
    uiConfig: { docExpansion: 'list', deepLinking: true, validatorUrl: null },
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}
