# The images of Longshore's jobs: one target per job (`backup`, `restore`, `copy`, `load`), and `longshore`, which has every command.
#
#   docker build --target longshore --tag longshore:dev .
#
# They run as any user without a name of its own, with a read-only root; what has to be writable is /tmp (a tmpfs of 64 MiB is
# plenty: the schema passes through it, rows never do), and the folder of a repository or a result file, if you use one. No
# architecture is named anywhere: build with `--platform linux/amd64,linux/arm64`, or on a machine of each kind.
#
# There is no HEALTHCHECK. A job is healthy when it has ended with 0, which its runtime knows better than a command beside it;
# whether the backups are fresh is what `longshore check` tells.
#
#   PACKAGES   pgdg: clients of every supported PostgreSQL major, from the vendor's repository. debian: the one major that this
#              Debian has, for machines that reach Debian only
#   MAJORS     which majors, with PACKAGES=pgdg
#   BINARIES   build: compile them here. The name of an image: take /out of that image
#   PROFILE    cargo's profile: release, or dev, which compiles faster
#   VERSION, REVISION, BUILD   the labels
ARG RUST=rust:1.95-bookworm
ARG BASE=debian:bookworm-slim
ARG BINARIES=build

FROM ${RUST} AS build
ARG BINARIES
ARG PROFILE=release
WORKDIR /src
COPY . .
# Builders that make every stage, needed or not, find nothing to do here when there are binaries already.
RUN mkdir -p /out && if [ "${BINARIES}" = build ]; then \
        cargo build --locked --profile "${PROFILE}" --config "profile.${PROFILE}.strip=\"debuginfo\"" --package longshore \
            --package longshore-backup --package longshore-restore --package longshore-copy --package longshore-load --bins \
        && folder="target/$(test "${PROFILE}" = dev && echo debug || echo "${PROFILE}")" \
        && cp "$folder/longshore" "$folder/longshore-backup" "$folder/longshore-restore" "$folder/longshore-copy" "$folder/longshore-load" /out/; \
    fi

FROM ${BINARIES} AS binaries

# Where the clients and their library come from. The key of the vendor's repository is in a package that Debian signs.
FROM ${BASE} AS packages
ARG PACKAGES=pgdg
RUN set -eu; . /etc/os-release; case "${PACKAGES}" in \
    debian) ;; \
    pgdg) \
        apt-get update; \
        apt-get install --yes --no-install-recommends ca-certificates; \
        cd /tmp; apt-get -o APT::Sandbox::User=root download postgresql-common; dpkg -x postgresql-common_*.deb vendor; \
        install -D -m 644 vendor/usr/share/postgresql-common/pgdg/apt.postgresql.org.* -t /usr/share/postgresql-common/pgdg; \
        key=$(find /usr/share/postgresql-common/pgdg -name 'apt.postgresql.org.asc' -o -name 'apt.postgresql.org.gpg' | head -n 1); \
        echo "deb [signed-by=$key] https://apt.postgresql.org/pub/repos/apt ${VERSION_CODENAME}-pgdg main" \
            >/etc/apt/sources.list.d/pgdg.list; \
        rm -rf /tmp/* /var/lib/apt/lists/* ;; \
    *) echo "PACKAGES is ${PACKAGES}; it is pgdg or debian" >&2; exit 78 ;; \
    esac

# Of each major the two programs that the jobs start; the packages would bring Perl for their wrappers.
FROM packages AS clients
ARG PACKAGES=pgdg
ARG MAJORS="14 15 16 17 18"
RUN set -eu; apt-get update; mkdir /clients /download; cd /download; \
    if [ "${PACKAGES}" = debian ]; then \
        majors=$(apt-cache depends postgresql-client | sed -n 's/.*Depends: postgresql-client-\([0-9]*\)$/\1/p'); \
    else majors="${MAJORS}"; fi; \
    test -n "$majors"; \
    for major in $majors; do \
        apt-get -o APT::Sandbox::User=root download "postgresql-client-$major"; \
        dpkg -x "postgresql-client-$major"_*.deb "$major"; \
        for program in pg_dump pg_restore; do \
            install -D -t "/clients/usr/lib/postgresql/$major/bin" "$major/usr/lib/postgresql/$major/bin/$program"; \
        done; \
        install -D -t "/clients/usr/share/doc/postgresql-client-$major" "$major/usr/share/doc/postgresql-client-$major/copyright"; \
    done; \
    rm -rf /download /var/lib/apt/lists/*

# What every image has. The loader speaks to databases by itself: certificates are all it takes. Whoever runs one belongs to group 0 at
# most.
FROM packages AS bare
RUN set -eu; apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old; \
    install -d -m 775 -g 0 /var/lib/longshore
ENV LANG=C.UTF-8 HOME=/tmp
WORKDIR /var/lib/longshore
USER 10001:0
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG BUILD=0
LABEL org.opencontainers.image.vendor="Longshore" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    longshore.build-number="${BUILD}"

FROM bare AS runtime
USER 0
RUN set -eu; apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libpq5 liblz4-1 libzstd1 zlib1g; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
COPY --from=clients /clients/ /
# A client that lacks a library fails here and not at night.
RUN set -eu; for program in /usr/lib/postgresql/*/bin/*; do "$program" --version; done
USER 10001:0

FROM runtime AS backup
LABEL org.opencontainers.image.title="longshore-backup" org.opencontainers.image.description="One backup of one database"
COPY --from=binaries /out/longshore-backup /usr/local/bin/longshore-backup
ENTRYPOINT ["longshore-backup"]

FROM runtime AS restore
LABEL org.opencontainers.image.title="longshore-restore" org.opencontainers.image.description="One proven restore of one backup"
COPY --from=binaries /out/longshore-restore /usr/local/bin/longshore-restore
ENTRYPOINT ["longshore-restore"]

FROM runtime AS copy
LABEL org.opencontainers.image.title="longshore-copy" org.opencontainers.image.description="Backups from one repository into another"
COPY --from=binaries /out/longshore-copy /usr/local/bin/longshore-copy
ENTRYPOINT ["longshore-copy"]

FROM bare AS load
LABEL org.opencontainers.image.title="longshore-load" org.opencontainers.image.description="One drop of files into one table, once"
COPY --from=binaries /out/longshore-load /usr/local/bin/longshore-load
ENTRYPOINT ["longshore-load"]

FROM runtime AS longshore
LABEL org.opencontainers.image.title="longshore" org.opencontainers.image.description="Backups of databases, and proven restores: every command"
COPY --from=binaries /out/longshore /usr/local/bin/longshore
ENTRYPOINT ["longshore"]
