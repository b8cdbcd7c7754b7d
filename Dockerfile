# One image for every role. docs/deployment.md; test/deploy/image.spec.ts builds the same set of files and starts it.
#
#   docker build -t liveness-detection-api .
#   docker build --build-arg MODEL_SET=… .    for another set of models/manifest.json than the default
#
# slim, and not alpine: onnxruntime-node has no musl build. bookworm: argon2 needs glibc 2.34 or later.
FROM node:24-bookworm-slim AS base
# Else its install script fetches CUDA libraries from a host that closed networks do not reach.
ENV ONNXRUNTIME_NODE_INSTALL=skip
WORKDIR /app

FROM base AS build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

# What runs, without the tools that built it. The scripts that are allowed to run are named in package.json.
FROM base AS dependencies
COPY package.json package-lock.json .npmrc ./
# onnxruntime-node brings 220 MB for other systems along.
RUN npm pkg delete scripts.prepare && npm ci --omit=dev \
    && rm -rf node_modules/onnxruntime-node/bin/*/darwin node_modules/onnxruntime-node/bin/*/win32

# The weights: those in models/, in packages, and those that can be fetched now. A host that cannot be reached is no
# failure as long as the set that will run is whole and its checksums are right: `models verify` decides.
FROM base AS models
ARG MODEL_SET=
COPY package.json ./
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY models ./models
RUN node dist/cli.js models download; node dist/cli.js models verify

FROM base
ARG MODEL_SET=
ENV NODE_ENV=production \
    MODEL_SET=$MODEL_SET \
    HOST=0.0.0.0 \
    OPERATIONS_PORT=9464 \
    DATA_DIR=/data
COPY package.json ./
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=models /app/models ./models
COPY migrations ./migrations
# What the console's pages load is read from where it lies in the source.
COPY src/http/console/console.css ./src/http/console/
COPY src/http/console/client ./src/http/console/client
COPY --chmod=755 deploy/liveness /usr/local/bin/liveness
# What is written belongs to the user that runs, who is `node`; a new volume takes over what it finds.
RUN mkdir /data /anchors && chown 1000:1000 /data /anchors
USER 1000:1000
EXPOSE 8080 9464
CMD ["node", "dist/cli.js", "start"]
