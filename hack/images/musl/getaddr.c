/* getaddr NAME...: resolves each name through musl's getaddrinfo as programs in
 * Alpine-like containers do, and prints "NAME MILLISECONDS ADDRESS...", or the
 * error in place of the addresses. Exit code 1 if a name was not found. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	int failed = 0;
	for (int i = 1; i < argc; i++) {
		struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
		struct addrinfo *found = NULL;
		double start = now();
		int error = getaddrinfo(argv[i], NULL, &hints, &found);
		printf("%s %.1f", argv[i], now() - start);
		if (error) {
			printf(" %s\n", gai_strerror(error));
			failed = 1;
			continue;
		}
		for (struct addrinfo *a = found; a; a = a->ai_next) {
			char text[INET6_ADDRSTRLEN];
			const void *raw = a->ai_family == AF_INET
				? (const void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
				: (const void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
			printf(" %s", inet_ntop(a->ai_family, raw, text, sizeof text));
		}
		printf("\n");
		freeaddrinfo(found);
	}
	return failed;
}
