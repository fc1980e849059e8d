# An image with etcd, from the program of one of its releases.
FROM debian:12-slim
COPY etcd /usr/local/bin/
CMD ["etcd"]
