# An image with etcd, from the programs of one of its releases: etcdutl restores backups.
FROM debian:12-slim
COPY etcd etcdutl /usr/local/bin/
CMD ["etcd"]
