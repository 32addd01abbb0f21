//! The table: for each operation of the shop, who may do it and a good request.
//!
//! Tests derive bad requests from the good one and from the OpenAPI documents. They fail if an operation is
//! missing here, so none can be forgotten.

use serde_json::{Value, json};

/// Who may do an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Anyone,
    Buyer,
    Seller,
    Administrator,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub operation: &'static str,
    pub role: Role,
    /// The status when the path names something that does not exist: usually 404.
    pub unknown: u16,
    /// `None` if the operation takes no JSON.
    pub good: Option<Value>,
    /// Fields that are looked up, not checked: a wrong value is simply unknown.
    pub opaque: &'static [&'static str],
}

const fn row(operation: &'static str, role: Role) -> Row {
    Row { operation, role, unknown: 404, good: None, opaque: &[] }
}

impl Row {
    fn json(mut self, good: Value) -> Self {
        self.good = Some(good);
        self
    }

    const fn opaque(mut self, fields: &'static [&'static str]) -> Self {
        self.opaque = fields;
        self
    }

    /// Removing a mark that does not exist succeeds: the result is what was asked for.
    const fn unknown(mut self, status: u16) -> Self {
        self.unknown = status;
        self
    }
}

pub(crate) fn table() -> Vec<Row> {
    use Role::{Administrator, Anyone, Buyer, Seller};
    let id = "00000000-0000-4000-8000-000000000000";
    let password = "a fine long pass phrase";
    let credentials = json!({"email": "ada@members.example", "password": password});
    let product = rocketmart_shop::mug("BAD-INPUT", 100, 5);
    let mut edit = product.clone();
    edit["variants"][0]["options"] = json!({});
    let address = json!({
        "recipient": "홍길동", "line1": "세종대로 110", "line2": "3F", "city": "서울", "region": "서울",
        "postal_code": "04524", "country": "KR", "phone": "+82 2-120-0000"
    });
    vec![
        // member
        row("GET /.well-known/jwks.json", Anyone),
        row("POST /api/v1/members", Anyone).json(
            json!({"email": "ada@members.example", "password": password, "name": "Ada", "roles": ["buyer"]}),
        ),
        row("GET /api/v1/members/verify", Anyone),
        row("POST /api/v1/members/verify", Anyone).json(json!({"token": "x"})).opaque(&["token"]),
        row("POST /api/v1/password-resets", Anyone).json(json!({"email": "ada@members.example"})),
        row("GET /api/v1/password-resets/confirm", Anyone),
        row("POST /api/v1/password-resets/confirm", Anyone)
            .json(json!({"token": "x", "password": password}))
            .opaque(&["token", "password"]),
        row("POST /api/v1/sessions", Anyone).json(credentials).opaque(&["password"]),
        row("POST /api/v1/sessions/refresh", Anyone)
            .json(json!({"refresh_token": "x"}))
            .opaque(&["refresh_token"]),
        row("DELETE /api/v1/sessions", Buyer),
        row("DELETE /api/v1/sessions/current", Buyer),
        row("GET /api/v1/me", Buyer),
        row("PATCH /api/v1/me", Buyer).json(json!({"name": "Ada", "roles": ["buyer"]})),
        row("DELETE /api/v1/me", Buyer).json(json!({"password": password})).opaque(&["password"]),
        row("PUT /api/v1/me/password", Buyer)
            .json(json!({"current_password": password, "new_password": "another fine pass phrase"}))
            .opaque(&["current_password"]),
        row("POST /api/v1/admin/members/import", Administrator)
            .json(json!({"members": [{"email": "ada@members.example", "name": "Ada"}]})),
        row("POST /api/v1/admin/tokens", Administrator).json(json!({"member_ids": [id]})),
        // catalog
        row("GET /api/v1/products", Anyone),
        row("POST /api/v1/products", Seller).json(product),
        row("GET /api/v1/products/{id}", Anyone),
        row("PATCH /api/v1/products/{id}", Seller).json(edit),
        row("DELETE /api/v1/products/{id}", Seller),
        row("POST /api/v1/products/{id}/publish", Seller),
        row("POST /api/v1/products/{id}/withdraw", Seller),
        row("POST /api/v1/products/{id}/stock-adjustments", Seller)
            .json(json!({"sku": "MUG", "difference": 1, "reason": "found"})),
        row("GET /api/v1/likes", Buyer),
        row("PUT /api/v1/likes/{product_id}", Buyer),
        row("DELETE /api/v1/likes/{product_id}", Buyer).unknown(204),
        row("GET /api/v1/wishlist", Buyer),
        row("PUT /api/v1/wishlist/{product_id}", Buyer),
        row("DELETE /api/v1/wishlist/{product_id}", Buyer).unknown(204),
        // search
        row("GET /api/v1/search", Anyone),
        // order
        row("GET /api/v1/sales", Anyone),
        row("GET /api/v1/sales/{sale}", Anyone),
        row("POST /api/v1/sales/{sale}/purchases", Buyer).json(json!({"sku": "MUG", "quantity": 1})),
        row("GET /api/v1/cart", Buyer),
        row("PUT /api/v1/cart/lines/{sku}", Buyer).json(json!({"quantity": 1})),
        row("DELETE /api/v1/cart/lines/{sku}", Buyer),
        row("POST /api/v1/cart/merge", Buyer)
            .json(json!({"lines": [{"sku": "MUG", "quantity": 1, "unit_price": 100}]})),
        row("POST /api/v1/cart/checkout", Buyer)
            .json(json!({"currency": "KRW", "lines": [{"sku": "MUG", "quantity": 1, "unit_price": 100}]})),
        row("GET /api/v1/orders", Buyer),
        row("GET /api/v1/orders/{id}", Buyer),
        row("POST /api/v1/orders/{id}/cancel", Buyer).json(json!({"reason": "changed my mind"})),
        row("POST /api/v1/orders/{id}/returns", Buyer)
            .json(json!({"lines": [{"sku": "MUG", "quantity": 1}], "reason": "too small"})),
        row("POST /api/v1/orders/{id}/payment", Buyer)
            .json(json!({"payment_method_id": id, "delivery_address_id": id, "confirm": true})),
        row("POST /api/v1/orders/{id}/payment/confirm", Buyer),
        // payment
        row("POST /api/v1/payment-methods", Buyer)
            .json(json!({"provider_token": "tok_4f2a9c", "label": "Visa", "default": true})),
        row("GET /api/v1/payment-methods", Buyer),
        row("DELETE /api/v1/payment-methods/{id}", Buyer),
        row("PUT /api/v1/payment-methods/{id}/default", Buyer),
        row("GET /api/v1/payments", Buyer),
        row("GET /api/v1/payments/{id}", Buyer),
        // The provider signs it, whatever it holds. Without the signature nobody looks at it.
        row("POST /api/v1/payments/callbacks", Anyone).opaque(&["id", "type"]),
        // delivery
        row("POST /api/v1/addresses", Buyer).json({
            let mut new = address.clone();
            new["default"] = json!(true);
            new
        }),
        row("GET /api/v1/addresses", Buyer),
        row("GET /api/v1/addresses/{id}", Buyer),
        row("PATCH /api/v1/addresses/{id}", Buyer).json(address),
        row("DELETE /api/v1/addresses/{id}", Buyer),
        row("PUT /api/v1/addresses/{id}/default", Buyer),
        row("GET /api/v1/shipments", Buyer),
        row("GET /api/v1/shipments/{id}", Buyer),
    ]
}
