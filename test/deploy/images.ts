/**
 * What is documented of the images in docker-compose.yml: the user they run as, the folders that user owns (where a
 * volume may be), and the settings we use. None of them can be started where these tests run, so each is named with the
 * source it was read in.
 */
export interface Image {
  readonly source: string
  /** The image's own user, or the one the compose file sets. */
  readonly uid: number
  /** Folders that exist in the image and that this user may write: a new named volume takes their owner over. */
  readonly owns: readonly string[]
  readonly settings: readonly string[]
  /** Whether the image has a HEALTHCHECK of its own. */
  readonly healthy?: true
}

export const images: Readonly<Record<string, Image>> = {
  'kurrentplatform/kurrentdb:26.0.3': {
    source: 'kurrent-io/KurrentDB v26.0.3: Dockerfile (UID 1001, chown, HEALTHCHECK), docs/server/configuration',
    uid: 1001,
    owns: ['/var/lib/kurrentdb', '/var/log/kurrentdb'],
    settings: [
      'KURRENTDB_CLUSTER_SIZE',
      'KURRENTDB_INSECURE',
      'KURRENTDB_RUN_PROJECTIONS',
      'KURRENTDB_TELEMETRY_OPTOUT',
    ],
    healthy: true,
  },
  'apache/kafka:4.3.1': {
    source:
      'apache/kafka: docker/jvm/Dockerfile (appuser owns /var/lib/kafka), KafkaDockerWrapper (KAFKA_… → property)',
    uid: 1000,
    owns: ['/var/lib/kafka/data'],
    settings: [
      'CLUSTER_ID',
      'KAFKA_NODE_ID',
      'KAFKA_PROCESS_ROLES',
      'KAFKA_CONTROLLER_QUORUM_VOTERS',
      'KAFKA_LISTENERS',
      'KAFKA_ADVERTISED_LISTENERS',
      'KAFKA_LISTENER_SECURITY_PROTOCOL_MAP',
      'KAFKA_INTER_BROKER_LISTENER_NAME',
      'KAFKA_CONTROLLER_LISTENER_NAMES',
      'KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR',
      'KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR',
      'KAFKA_TRANSACTION_STATE_LOG_MIN_ISR',
      'KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR',
      'KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR',
      'KAFKA_AUTO_CREATE_TOPICS_ENABLE',
      'KAFKA_LOG_DIRS',
      'KAFKA_HEAP_OPTS',
    ],
  },
  'postgres:18.6-bookworm': {
    source: 'docker-library/postgres: 18/bookworm/Dockerfile (uid 999 owns /var/lib/postgresql), docs: POSTGRES_…_FILE',
    uid: 999,
    owns: ['/var/lib/postgresql'],
    settings: ['POSTGRES_USER', 'POSTGRES_DB', 'POSTGRES_PASSWORD_FILE'],
  },
  'axllent/mailpit:v1.30.5': {
    source:
      'axllent/mailpit: Dockerfile (HEALTHCHECK, a binary anybody may run); its mail lies in the temporary folder',
    uid: 1000,
    owns: [],
    settings: [],
    healthy: true,
  },
  'caddy:2.11-alpine': {
    source: 'caddyserver/caddy-docker: 2.11/alpine/Dockerfile (root; /data/caddy and /config/caddy are anybody’s)',
    uid: 0,
    owns: ['/data', '/config'],
    settings: ['SITE_ADDRESS'], // ours: deploy/Caddyfile reads it
  },
  'prom/prometheus:v3.14.0': {
    source: 'prometheus/prometheus: Dockerfile (USER nobody owns /prometheus); promtool is in the image',
    uid: 65_534,
    owns: ['/prometheus'],
    settings: [],
  },
  'grafana/grafana:13.2.1': {
    source: 'grafana/grafana: Dockerfile (GF_UID 472), packaging/docker/run.sh (…__FILE), docs of configuration',
    uid: 472,
    owns: ['/var/lib/grafana'],
    settings: ['GF_SECURITY_ADMIN_PASSWORD__FILE', 'GF_ANALYTICS_REPORTING_ENABLED', 'GF_USERS_ALLOW_SIGN_UP'],
  },
}
