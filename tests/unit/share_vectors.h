/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden vectors of docs/decisions/0024-sharing.md, made by a second implementation (Python, hmac and cryptography)
 * before the code was written. Bytes in hexadecimal.
 */
#pragma once

static const struct {
	const char *secret, *code, *id, *token, *knock;
} share_vectors[] __attribute__((unused)) = {
	{ "000102030405060708090a0b0c0d0e0f",
	  "000G-40R4-0M30-E209-185G-R38E-1ZRR", "8789d63b4e4bc7c8",
	  "f3687f8626104538c62aa94109d8e53d",
	  "d37c40da4b6eebda24bb3340dd6454c96ae5f1f84b8567022962d98ad0817259" },
	{ "00000000000000000000000000000000",
	  "0000-0000-0000-0000-0000-0000-02XR", "abb0f9d91c8d7feb",
	  "3c8c3686668c4a4025e383e618c7bec9",
	  "f6c737ee170c5727e9eb6410f7efa23d72883a4bba7e49e6f304432a0268a134" },
	{ "ffffffffffffffffffffffffffffffff",
	  "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZXC3", "3052da415a8ec7ee",
	  "2b0648efda9efa6124e447d747873df5",
	  "140f123fa75402e952be47fac6569806505b9aa463fb49ea0739e24211bb0c76" },
};

/* Of the first secret, salt a0a1…af. */
static const struct {
	const char *kind, *key;
	unsigned number, last;
	const char *plain, *record;
} record_vectors[] __attribute__((unused)) = {
	{ "file", "9988f6abc5b9cbeeb15df26d047c5eebd2fa8c5ca76098804b4067b5b94e38ac", 0u, 1, "", "f9f716c87f6a0974efdb18f58f1ad5a7" },
	{ "file", "9988f6abc5b9cbeeb15df26d047c5eebd2fa8c5ca76098804b4067b5b94e38ac", 0u, 1, "68656c6c6f", "c5dd4084a837d6a4f023d18e95270fe51a963dd51c" },
	{ "meta", "d5814a869ac90378b77ba16a9a556741ab10a0b5c4fc420d30e5e680f5efcc1e", 0u, 0, "7b7d", "9635b4c00de322c671363641a0ef6dec2730" },
	{ "upload", "1946910f885c01f05c2eb3f8446373fe50bba8ca8af3641dc8207922d550cd12", 1u, 1, "68656c6c6f", "020f707615f65fd48d20ed4c279736446c7cd8fb36" },
	{ "name", "755daa292942eb72aa42fb85023166658567bca724be94d6bdffd2d64b104df2", 65536u, 0, "7878787878787878787878787878787878787878", "af4c213f882c9a2b0542cd8fa5c0ef48cf5414c29b0448b21d9da94cd032b412dd78c4b9" },
	{ "archive", "1545f3d0c21a3b5639858eaf75bd1d88903aa8c657e3ead934e75497ac74ccdb", 4294967295u, 1, "00", "ab9e33f0f74ae1d0f1c06fcaf69c23756f" },
};

/* Call 10…1f, visitor aa…, host bb…: proofs of the first secret. */
#define SHARE_PROOF_VISITOR "db8f3ff16465ad7c3bfc7c457cabcb2dbf0c830b7984d4231dceedf978180047"
#define SHARE_PROOF_HOST "665cdf66a5d41b413e76cd11603924f01cb27ec2380af3f08596677a78a03b9c"
