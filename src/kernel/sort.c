/* SPDX-License-Identifier: MIT */
#include "kernel/sort.h"

#include <string.h>

/* Elements between two looks at whether to stop. */
#define STOP_AFTER 65536

int sort_compare(enum num t, const void *v, size_t i, size_t j)
{
	switch (t) {
#define CASE(NAME, T, WIDE)                                     \
	case NUM_##NAME: {                                      \
		T a = ((const T *)v)[i], b = ((const T *)v)[j]; \
		if (a != a || b != b)                           \
			return (a != a) - (b != b);             \
		return (a > b) - (a < b);                       \
	}
		NUM_ALL(CASE)
#undef CASE
	default:
		return 0;
	}
}

/* A stable merge sort, bottom up. */
void sort_indices(const struct kernel *kernel, enum num t, const void *v,
		  size_t step, bool descending, int64_t *idx, int64_t *tmp,
		  size_t n)
{
	int64_t *from = idx, *to = tmp, *swap;

	for (size_t width = 1; width < n; width *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * width) {
			size_t mid = lo + width < n ? lo + width : n;
			size_t hi = mid + width < n ? mid + width : n;
			size_t a = lo, b = mid;

			for (size_t k = lo; k < hi; k++) {
				int order =
					a < mid && b < hi
						? sort_compare(t, v,
							       (size_t)from[b] *
								       step,
							       (size_t)from[a] *
								       step)
						: 0;
				bool take_b =
					a >= mid ||
					(b < hi &&
					 (descending ? order > 0 : order < 0));

				to[k] = take_b ? from[b++] : from[a++];
				if (k % STOP_AFTER == 0 &&
				    kernel_stopped(kernel))
					return;
			}
		}
		swap = from;
		from = to;
		to = swap;
	}
	if (from != idx)
		memcpy(idx, from, n * sizeof(*idx));
}
