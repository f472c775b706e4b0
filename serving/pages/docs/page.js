"use strict";

// The example's Idempotency-Key would make each order the same request: give a new one each time.
function withAKeyOfItsOwn(request) {
  if (request.headers && request.headers["Idempotency-Key"]) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    request.headers["Idempotency-Key"] = Array.from(bytes, (one) =>
      one.toString(16).padStart(2, "0")
    ).join("");
  }
  return request;
}

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#description",
  deepLinking: true,
  defaultModelsExpandDepth: -1, // schemas stand with the operations that use them
  persistAuthorization: false, // a key is never kept in the browser
  validatorUrl: null, // no outside request
  requestInterceptor: withAKeyOfItsOwn,
});
