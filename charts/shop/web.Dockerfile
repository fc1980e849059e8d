# The shop's web server of docs/first-hour.md, in versions that differ in what they answer.
#   docker build --build-arg VERSION=1 -f charts/shop/web.Dockerfile .
FROM python:3.11-alpine
ARG VERSION=1
ENV VERSION=$VERSION PORT=8080
COPY hack/images/web/server.py /usr/local/bin/web
CMD ["python3", "/usr/local/bin/web"]
